"""Steady load of reads and writes, with a ledger of every write that was acknowledged."""

import itertools
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import requests

from tests.conftest import bearer
from tests.test_end_to_end import Client

REQUEST_TIMEOUT = 20.0  # seconds
PATIENCE = 60.0
Outcome = int | Literal["no answer", "no answer in time"]


@dataclass(frozen=True)
class Event:
    """A request and what came of it."""

    begin: float
    end: float
    method: str
    outcome: Outcome
    ok: bool
    retry_after: bool


@dataclass
class Load:
    """Readers, writers that retry with an Idempotency-Key, and one who logs out.

    What it learns: `events`, the `ledger` of acknowledged books (key: id and title), how many of
    them were there already when they were sent again (`replayed`: done, and the answer lost), and
    `intruders`, the requests that were let in with a token that had been revoked.
    """

    make_client: Callable[[], Client]
    tokens: Sequence[str]  # of sessions to log out from, and the first to work with
    readers: int = 4
    writers: int = 4
    events: list[Event] = field(default_factory=list)
    ledger: dict[str, tuple[str, str]] = field(default_factory=dict)
    replayed: int = 0
    intruders: int = 0
    doors: Sequence[str] = ()  # where else revoked tokens are presented
    may_lose: bool = False  # an acknowledged book may be gone when it is to be changed
    waits: list[float] = field(default_factory=list)  # seconds until a write was acknowledged
    ended: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._stop = threading.Event()
        roles = [self._read] * self.readers + [self._write] * self.writers + [self._leave]
        self._threads = [threading.Thread(target=self._run, args=(role,)) for role in roles]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _run(self, role: Callable[[Client], None]) -> None:
        with self.make_client() as client:
            client.use(self.tokens[0])
            try:
                role(client)
            except BaseException as error:
                self.errors.append(error)  # raised at the end, in the test's own thread

    def _ask(
        self, client: Client, method: str, path: str, *good: int, **options: Any
    ) -> requests.Response | None:
        """Send one request; return its answer, whatever it is, or None."""
        begin = time.monotonic()
        response, outcome = None, None
        try:
            response = client.request(method, client.url + path, timeout=REQUEST_TIMEOUT, **options)
            outcome = response.status_code
        except requests.Timeout:
            outcome = "no answer in time"
        except requests.RequestException:
            outcome = "no answer"
        retry_after = response is not None and "Retry-After" in response.headers
        event = Event(begin, time.monotonic(), method, outcome, outcome in good, retry_after)
        self.events.append(event)
        return response

    def _insist(
        self, client: Client, method: str, path: str, *good: int, **options: Any
    ) -> requests.Response:
        """Send a request until it is acknowledged, as a client does that wants its write done."""
        begin = time.monotonic()
        while True:
            response = self._ask(client, method, path, *good, **options)
            if response is not None and response.status_code in good:
                self.waits.append(time.monotonic() - begin)
                return response
            assert time.monotonic() < begin + PATIENCE, f"{method} {path} is never acknowledged"
            if path == "/auth/logout":
                good = (200, 401)  # done, and its answer lost
            time.sleep(0.2)

    def _read(self, client: Client) -> None:
        paths = itertools.cycle(["/books/", "/books/?q=momo&limit=5", "/auth/me"])
        while not self._stop.is_set():
            self._ask(client, "GET", next(paths), 200)
            time.sleep(0.02)

    def _write(self, client: Client) -> None:
        while not self._stop.is_set():
            key = str(uuid4())
            book = {"title": key, "author": "Michael Ende " * 20}
            headers = {"Idempotency-Key": key}
            created = self._insist(client, "POST", "/books/", 201, json=book, headers=headers)
            self.replayed += "Idempotent-Replayed" in created.headers
            identifier = created.json()["id"]
            self.ledger[key] = (identifier, key)
            # Sent again after a lost answer it finds its own values there, which is no conflict.
            changed = self._insist(
                client,
                "PATCH",
                f"/books/{identifier}",
                *(200, 404) if self.may_lose else (200,),
                json={"title": f"{key} 2"},
                headers={"If-Match": created.headers["ETag"]},
            )
            self.ledger[key] = (identifier, changed.json()["title"])
            time.sleep(0.02)

    def _leave(self, client: Client) -> None:
        for token in self.tokens[1:]:
            if self._stop.is_set():
                return
            self._insist(client, "POST", "/auth/logout", 200, headers=bearer(token))
            self.ended.append(token)
            for revoked in random.sample(self.ended, min(3, len(self.ended))):
                answer = self._ask(client, "GET", "/auth/me", 401, headers=bearer(revoked))
                self.intruders += answer is not None and answer.status_code == 200
                self.intruders += sum(self._is_let_in(door, revoked) for door in self.doors)
            time.sleep(0.05)

    def _is_let_in(self, door: str, token: str) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{door}/auth/me", headers=bearer(token), timeout=0.5).ok
        return False

    def outage(self) -> float:
        """Return the longest time without any success."""
        ends = sorted(event.end for event in self.events if event.ok)
        return max(later - earlier for earlier, later in itertools.pairwise(ends))

    def failures(self) -> list[Event]:
        return [event for event in self.events if not event.ok]

    def seen(self) -> str:
        """Say what clients saw beside success."""
        counts = Counter(event.outcome for event in self.failures())
        return ", ".join(f"{number} x {what}" for what, number in counts.most_common()) or "nothing"

    def longest_wait(self, method: str = "") -> float:
        return max(event.end - event.begin for event in self.events if method in ("", event.method))

    def recovery(self, healed: float) -> float:
        """Return the seconds from `healed` to the first success that no failure follows."""
        last = max((event.end for event in self.failures()), default=healed)
        if last <= healed:
            return 0.0
        after = [event.end for event in self.events if event.ok and event.end > last]
        return min(after, default=math.inf) - healed
