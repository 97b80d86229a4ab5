"""Rate limits: fixed windows, counted in Redis, or by each process while Redis is unavailable."""

import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial, wraps
from typing import Any, TypeVar, cast

from flask import Flask, Response, after_this_request, has_request_context, request
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, RedisStorage, Storage
from redis import Redis
from redis.exceptions import RedisError

from books_api.config import Settings
from books_api.extensions import extension
from books_api.observability.logs import logger
from books_api.observability.metrics import LIMITED, REDIS_ASKED, REDIS_FALLBACKS
from books_api.web.openapi import View, documented
from books_api.web.problems import RateLimited

T = TypeVar("T")
ASKED, FALLBACKS = REDIS_ASKED.labels("limits"), REDIS_FALLBACKS.labels("limits")
RETRY_SECONDS = 1.0  # between two attempts to reach an unavailable Redis


@dataclass(frozen=True, slots=True)
class Window:
    """What is left of a limit, and the seconds until the whole of it is available again."""

    limit: RateLimitItem
    remaining: int
    seconds: int

    def describe_in_answer(self) -> None:
        """Add the RateLimit headers to the answer of the current request, if there is one."""
        if has_request_context():
            after_this_request(self._describe)

    def _describe(self, response: Response) -> Response:
        response.headers["RateLimit-Limit"] = str(self.limit.amount)
        response.headers["RateLimit-Remaining"] = str(max(0, self.remaining))
        response.headers["RateLimit-Reset"] = str(self.seconds)
        return response


class Limits:
    """The limits that the settings name `*_limit`, and what has been counted against them."""

    def __init__(self, settings: Settings, client: Redis) -> None:
        names = [field.name for field in fields(settings) if field.name.endswith("_limit")]
        self._limits = {name: parse_many(getattr(settings, name)) for name in names}
        # The braces put all keys into one slot of a Redis Cluster, as everywhere here.
        self._redis = RedisStorage(
            "redis://", connection_pool=client.connection_pool, key_prefix="{books}"
        )
        self._memory = MemoryStorage()
        self._ask_again_at = 0.0

    def count(self, setting: str, *key: str) -> Window:
        """Count one more of the key and return the fullest window.

        Count first and give_back() afterwards: requests sent at the same time do not get past
        the limit together. Raises RateLimited at the first window that is full, and counts no
        further.
        """
        windows = []
        for limit in self._limits[setting]:
            windows.append(window := self._run(partial(_hit, limit, (setting, *key))))
            if window.remaining < 0:
                window.describe_in_answer()
                LIMITED.labels(setting).inc()
                raise RateLimited(
                    f"Too many requests: the limit is {limit}.",
                    headers={"Retry-After": str(window.seconds)},
                    event_fields={"limit": setting},
                )
        return min(windows, key=lambda window: window.remaining)

    def give_back(self, setting: str, *key: str) -> None:
        """Undo a count() that has not raised."""
        for limit in self._limits[setting]:
            self._run(partial(_give_back, limit, (setting, *key)))

    def ask_redis(self, question: Callable[[], T]) -> T | None:
        """Return what Redis answers; None while it is unavailable, asked once a second."""
        was_away, now = self._ask_again_at > 0, time.monotonic()
        if now < self._ask_again_at:
            return None
        if was_away:
            self._ask_again_at = now + RETRY_SECONDS  # others do not wait for the answer
        try:
            answer = question()
        except RedisError as error:
            if not was_away:
                logger.warning("limits are counted in memory while Redis is unavailable: %s", error)
            self._ask_again_at = time.monotonic() + RETRY_SECONDS
            return None
        self._ask_again_at = 0.0
        return answer

    def _run(self, act: Callable[[Storage], T]) -> T:
        answer = self.ask_redis(partial(act, self._redis))
        if answer is None:
            FALLBACKS.inc()
            return act(self._memory)
        ASKED.inc()
        return answer


def _hit(limit: RateLimitItem, key: tuple[str, ...], storage: Storage) -> Window:
    name = limit.key_for(*key)
    count = storage.incr(name, limit.get_expiry())
    seconds = math.ceil(storage.get_expiry(name) - time.time())
    return Window(limit, limit.amount - count, max(1, seconds))


def _give_back(limit: RateLimitItem, key: tuple[str, ...], storage: Storage) -> int:
    name = limit.key_for(*key)
    left = storage.incr(name, limit.get_expiry(), -1)
    if left <= 0:
        storage.clear(name)  # or tries that cost us no hash fill Redis for a window of a day
    return left


def init_app(app: Flask) -> None:
    """Count on the application's own Redis connections."""
    app.extensions["limits"] = Limits(app.config["SETTINGS"], app.extensions["redis"])


def limits() -> Limits:
    """Return the current application's."""
    return cast(Limits, extension("limits"))


def client_network() -> str:
    """Return the client's address; of an IPv6 client its /64, which one household has whole."""
    address = request.remote_addr or "unknown"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped:  # an IPv4 client of a socket that takes both
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def limited(
    setting: str, *, by: Callable[[], str] = client_network, spare: tuple[type[Exception], ...] = ()
) -> Callable[[View], View]:
    """Limit the view, by the client's network unless another key is given.

    It stands below arguments(), so that a request that is refused for its form does not count;
    nor does one that the view refuses with an exception of `spare`, before it has done anything.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            counter, key = limits(), by()
            counter.count(setting, key).describe_in_answer()
            try:
                return view(*args, **kwargs)
            except spare:
                counter.give_back(setting, key)
                raise

        counted = documented(rate_limited=True, responses={"429": "Problem429"})
        return counted(cast(View, wrapper))

    return decorator
