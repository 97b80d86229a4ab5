"""The Redis client: how it is made from its URL, how long it waits, whom it trusts."""

import time
from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from books_api.server_urls import sentinel_address

REDIS_TIMEOUT = 0.25  # seconds
WAITS = {"socket_timeout": REDIS_TIMEOUT, "socket_connect_timeout": REDIS_TIMEOUT}


class UnfitRedis(ConnectionError):
    """A Redis that answers, but cannot be relied on; the text is for the operator."""


def make_redis_client(url: str) -> Redis:
    """Return a client, which connects when it is first used. Raises ValueError for a bad URL."""
    # The library's own defaults retry for up to a minute.
    options: dict[str, Any] = {
        **WAITS,
        "retry": Retry(NoBackoff(), 1, (ConnectionError, TimeoutError)),
        "decode_responses": True,
        "redis_connect_func": _connected,
    }
    if "+sentinel://" not in url:
        return Redis.from_url(url, **options)
    nodes, service, ours, theirs = sentinel_address(url)
    # The next Sentinel is asked in place of the same again.
    theirs |= WAITS | {"retry": Retry(NoBackoff(), 0)}
    sentinel: Any = Sentinel(nodes, sentinel_kwargs=theirs)  # type: ignore[no-untyped-call]  # it has no types
    client: Redis = sentinel.master_for(service, **options | ours)
    return client


def identify(connection: Any, info: str) -> None:
    """Note in `identity` which server answered with INFO, in which of its lives as a primary.

    Raises UnfitRedis.
    """
    connection.identity = None
    found = dict(line.partition(":")[::2] for line in info.splitlines())
    check_fitness(found)
    connection.identity = f"{found['run_id']}:{found['master_replid']}"
    connection.identified_at = time.monotonic()


def check_fitness(info: Mapping[str, Any]) -> None:
    """Raise UnfitRedis for a server that takes no writes, or forgets what it was told."""
    if info.get("role") != "master":
        raise UnfitRedis("This Redis is a replica: give the address of the primary.")
    if (policy := info.get("maxmemory_policy")) != "noeviction":
        raise UnfitRedis(
            f"maxmemory-policy is {policy}: revocations may be evicted. Set noeviction."
        )


def _connected(connection: Any) -> None:
    connection.on_connect()
    connection.send_command("INFO")
    identify(connection, connection.read_response())
