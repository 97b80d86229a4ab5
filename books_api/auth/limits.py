"""Rate limits: by the client's address, and by account, whichever address it comes from."""

import hashlib
import ipaddress
import math
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar, cast

from flask import Flask, Response, current_app, g, request
from flask_limiter import Limiter
from redis.exceptions import RedisError

from books_api.config import Settings
from books_api.web.openapi import problems

View = TypeVar("View", bound=Callable[..., Any])


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


class PatientLimiter(Limiter):
    """Counts in memory also for the second thread that finds Redis away, and those after it."""

    def _check_request_limit(
        self, callable_name: str | None = None, in_middleware: bool = True
    ) -> None:
        try:
            super()._check_request_limit(callable_name, in_middleware)
        except RedisError:  # while this one asked, another has found out
            super()._check_request_limit(callable_name, in_middleware)


limiter = PatientLimiter(client_network, in_memory_fallback_enabled=True, key_prefix="{books}")


def limited(setting: str) -> Callable[[View], View]:
    """Limit the view by the client's address, as often as the setting says."""
    limit = limiter.limit(lambda: str(getattr(_settings(), setting)))

    def decorator(view: View) -> View:
        return problems(429)(cast(View, limit(view)))

    return decorator


def limit_account(account: str) -> None:
    """Count a try at an account: an email, or a user's id. Raises RateLimitExceeded."""
    g.account = hashlib.sha256(account.casefold().encode()).hexdigest()
    _count_account()


@limiter.limit(lambda: _settings().login_account_limit, key_func=lambda: g.account)
def _count_account() -> None:
    pass  # The decorator counts.


def _settings() -> Settings:
    settings: Settings = current_app.config["SETTINGS"]
    return settings


def init_app(app: Flask) -> None:
    """Bind the limiter to the application's own Redis connections."""
    app.config["RATELIMIT_STORAGE_URI"] = "redis://"
    app.config["RATELIMIT_STORAGE_OPTIONS"] = {
        "connection_pool": app.extensions["redis"].connection_pool
    }
    before = list(app.before_request_funcs.get(None, []))
    after = list(app.after_request_funcs.get(None, []))
    limiter.init_app(app)
    # Its hooks look for default limits and headers of its own, which we have not, on every
    # request. Our limits are checked by their decorators, on routes of one blueprint.
    app.before_request_funcs[None] = before
    app.after_request_funcs[None] = after
    app.teardown_request_funcs["auth"] = app.teardown_request_funcs.pop(None)


def describe_limit(response: Response) -> Response:
    """Add the RateLimit headers where a limit was checked."""
    limit = limiter.current_limit
    if limit is not None:
        try:
            reset_at, remaining = limit.window
        except RedisError:  # away since the limit was checked
            return response
        seconds = max(1, math.ceil(reset_at - time.time()))
        response.headers["RateLimit-Limit"] = str(limit.limit.amount)
        response.headers["RateLimit-Remaining"] = str(remaining)
        response.headers["RateLimit-Reset"] = str(seconds)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            response.headers["Retry-After"] = str(seconds)
    return response
