"""Each request: its id, one line in the log, and its count in the metrics."""

import re
import secrets
from functools import cached_property
from time import perf_counter
from typing import Any

import flask
from flask import Flask, Response, current_app

from books_api.observability.logs import log_request
from books_api.observability.metrics import IN_FLIGHT, count_request

REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{8,64}")
# Asked every few seconds: only a failure is worth a line.
PROBES = frozenset(("/healthz", "/readyz", "/metrics"))
UNMATCHED = ("unknown", "unknown")


class Request(flask.Request):
    """A request that knows when it began, its id, and who sends it."""

    bearer: Any = None  # of auth.guard: whose token it carries, let in or not,
    identity: Any = None  # and who was let in

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.began = perf_counter()
        IN_FLIGHT.inc()
        super().__init__(*args, **kwargs)

    @cached_property
    def id(self) -> str:
        """The proxy's id for the request, else a new one."""
        given = self.headers.get("X-Request-ID")
        if given and current_app.config["SETTINGS"].trusted_proxies and REQUEST_ID.fullmatch(given):
            return given
        return secrets.token_hex(16)


def current_request() -> Request:
    """Return the request itself: an attribute by way of Flask's proxy costs ten times as much."""
    request: Request = flask.request._get_current_object()  # type: ignore[attr-defined]  # of a proxy
    return request


def finish(response: Response) -> Response:
    """Complete the headers of an answer, and log and count the request."""
    request = current_request()
    seconds = perf_counter() - request.began
    IN_FLIGHT.dec()
    response.headers.add("X-Request-ID", request.id)
    response.headers.add("X-Content-Type-Options", "nosniff")
    if request.path.startswith("/api/"):
        # What differs by user, or carries tokens, is nobody's to keep (RFC 9111, 5.2.2); only a
        # book may be kept by the client, and asked for again by its ETag.
        if "ETag" in response.headers and request.method in ("GET", "HEAD"):
            response.headers.set("Cache-Control", "private, no-cache")
            response.headers.add("Vary", "Authorization")
        else:
            response.headers.set("Cache-Control", "no-store")
    status = response.status_code
    method, route = UNMATCHED  # without a rule the method, too, may be any word
    if request.url_rule is not None:
        method, route = request.method, request.url_rule.rule
    count_request(method, route, status, seconds)
    if route not in PROBES or status >= 400:
        log_request(request, route, status, seconds)
    return response


def init_app(app: Flask) -> None:
    """Watch every request; first of all, so that it sees the answer last."""
    app.request_class = Request
    app.after_request(finish)
