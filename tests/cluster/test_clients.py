"""What clients do for long, or over and over, while Postgres fails over: nothing is half done."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import requests
from flask import Flask
from sqlalchemy import text

from books_api.database import transaction
from tests.cluster.conftest import Cluster
from tests.cluster.faults import LONG, fault
from tests.conftest import bearer
from tests.helpers import execute
from tests.processes import wait_until
from tests.test_end_to_end import Client

pytestmark = [pytest.mark.cluster, LONG]

MANY = 100_000  # books
INSERT = text(
    "INSERT INTO books (id, title, author, user_uid)"
    " SELECT gen_random_uuid(), 'Book ' || n, 'Nobody', id FROM users, generate_series(1, :many) n"
)


class Follower:
    """Keeps a copy of the catalogue, as examples/sync.py does."""

    def __init__(self) -> None:
        self.copy: dict[str, int] = {}  # versions by id
        self.cursor: str | None = None
        self.expired = 0

    def pull(self, client: Client) -> None:
        """Ask once; what is not answered is asked again the next time."""
        query = {"limit": "1000"} | ({"cursor": self.cursor} if self.cursor else {})
        with suppress(requests.RequestException):
            answer = client.get(f"{client.url}/books/changes", params=query, timeout=10)
            if answer.status_code == 410:
                self.copy, self.cursor = {}, None
                self.expired += 1
            elif answer.ok:
                self.copy |= {book["id"]: book["version"] for book in answer.json()["books"]}
                self.cursor = answer.json()["cursor"]

    def is_up_to_date(self, client: Client, app: Flask) -> bool:
        self.pull(client)
        return self.copy == dict(execute(app, "SELECT id::text, version FROM books"))


@contextmanager
def followed(cluster: Cluster, token: str) -> Iterator[Follower]:
    """Follow the changes meanwhile, and to the end: the copy is then what Postgres has."""
    follower, stop = Follower(), threading.Event()
    with cluster.nginx.client() as client, ThreadPoolExecutor(1) as pool:
        client.use(token)

        def follow() -> None:
            while not stop.wait(0.1):
                follower.pull(client)

        following = pool.submit(follow)
        try:
            yield follower
        finally:
            stop.set()
        following.result()
        wait_until(lambda: follower.is_up_to_date(client, cluster.app), 20)


def test_changes_are_followed_while_postgres_fails_over(cluster, tokens):
    with (
        followed(cluster, tokens[0]) as follower,
        fault("Postgres primary: kill, while a client follows the changes", cluster, tokens),
    ):
        old = cluster.primary()
        old.kill()
        wait_until(lambda: cluster.primary_apart_from(old))

    assert follower.copy
    assert not follower.expired


def test_standby_that_was_behind_is_promoted(cluster, tokens):
    """What it had not received is lost, and whoever has seen it learns so."""
    cluster.set_synchronous(False)
    try:
        with (
            followed(cluster, tokens[0]) as follower,
            fault(
                "Postgres primary, asynchronous: kill, 4 s after its replication",
                *(cluster, tokens),
                may_lose=True,
            ),
        ):
            old = cluster.primary()
            old.cut_off(cluster.standby())
            time.sleep(4)
            old.kill()
            wait_until(lambda: cluster.primary_apart_from(old))
    finally:
        cluster.set_synchronous(True)

    assert follower.expired


@pytest.mark.parametrize("how", ["kill", "cut_off"])
def test_export_that_is_cut_short_is_no_whole_file(cluster, tokens, how):
    with cluster.app.app_context(), transaction(long=True) as connection:
        connection.execute(INSERT, {"many": MANY})
    old = cluster.primary()
    old.slow_down()  # or nginx has all of it by then
    with cluster.nginx.client() as client:
        client.use(tokens[0])
        begun = time.monotonic()
        with client.get(f"{client.url}/books/export", stream=True, timeout=30) as answer:
            pieces = answer.iter_content(100_000)
            lines = next(pieces).count(b"\n")
            getattr(old, how)()
            with pytest.raises(requests.RequestException):
                lines += sum(piece.count(b"\n") for piece in pieces)
        seconds = time.monotonic() - begun
        wait_until(lambda: cluster.primary_apart_from(old))
        wait_until(lambda: client.get(f"{client.url}/auth/me").ok)
        whole = client.get(f"{client.url}/books/export")

    assert answer.status_code == 200
    assert 0 < lines < MANY
    assert seconds < 10
    assert whole.content.count(b"\n") == MANY + 1


def test_import_while_postgres_fails_over(cluster, tokens):
    """Sent again with its key until it is acknowledged, it has one effect."""
    body = b"title,author\n" + b"".join(b"Book %d,Nobody\n" % number for number in range(MANY))
    headers = {**bearer(tokens[0]), "Idempotency-Key": "import", "Content-Type": "text/csv"}
    old = cluster.primary()
    outcomes = []

    def is_acknowledged() -> bool:
        with suppress(requests.RequestException), cluster.nginx.client() as client:
            answer = client.post(f"{client.url}/books/import", data=body, headers=headers)
            outcomes.append(answer.status_code)
        return outcomes[-1:] == [200]

    with ThreadPoolExecutor(1) as pool:
        acknowledged = pool.submit(wait_until, is_acknowledged, 120)
        time.sleep(1)  # it is under way
        old.kill()
        acknowledged.result()
    (count,) = execute(cluster.app, "SELECT count(*) FROM books")[0]

    assert count == MANY, outcomes
    assert len(outcomes) > 1
