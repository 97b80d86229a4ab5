"""The Redis client: how it is made from its URL, and how long it waits."""

from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from books_api.addresses import sentinel_address

REDIS_TIMEOUT = 0.25  # seconds
WAITS = {"socket_timeout": REDIS_TIMEOUT, "socket_connect_timeout": REDIS_TIMEOUT}


def make_redis_client(url: str, on_connect: Callable[[Any], None] | None = None) -> Redis:
    """Return a client, which connects when it is first used. Raises ValueError for a bad URL."""
    # The library's own defaults retry for up to a minute.
    options: dict[str, Any] = {
        **WAITS,
        "retry": Retry(NoBackoff(), 1, (ConnectionError, TimeoutError)),
        "decode_responses": True,
        "redis_connect_func": on_connect,
    }
    if "+sentinel://" not in url:
        return Redis.from_url(url, **options)
    nodes, service, ours = sentinel_address(url)
    tls = {name: value for name, value in ours.items() if name.startswith("ssl")}
    sentinel: Any = Sentinel(nodes, sentinel_kwargs=WAITS | tls)  # type: ignore[no-untyped-call]  # it has no types
    client: Redis = sentinel.master_for(service, **options | ours)
    return client
