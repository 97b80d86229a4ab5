"""Each request: its id, one line in the log, and its count in the metrics."""

import logging
from time import perf_counter

from flask import Flask, Response, g, request

from books_api.logs import request_id
from books_api.metrics import count_request

logger = logging.getLogger("books_api.requests")
# Asked every few seconds: only a failure is worth a line.
PROBES = frozenset(("/healthz", "/readyz", "/metrics"))
NOWHERE = "unknown"  # the route of what has none


def begin() -> None:
    g.began = perf_counter()


def finish(response: Response) -> Response:
    """Log and count the request when the headers of its answer are ready.

    A stream has its body still before it then.
    """
    context = g._get_current_object()  # each attribute of the proxy would look it up again
    seconds = perf_counter() - context.began
    response.headers["X-Request-ID"] = request_id()
    sent = request._get_current_object()  # type: ignore[attr-defined]
    status = response.status_code
    method = sent.method
    if sent.url_rule is None:
        route = NOWHERE
        count_request(NOWHERE, NOWHERE, status, seconds)  # the method may be any word
    else:
        route = sent.url_rule.rule
        count_request(method, route, status, seconds)
    if route not in PROBES or status >= 400:
        identity = context.get("identity")
        fields = {
            "method": method,
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
            "user_id": identity.user_id if identity else None,
        }
        logger.info("request", extra={"fields": fields})
    return response


def init_app(app: Flask) -> None:
    """Watch every request; first of all, so that it sees the answer last."""
    app.before_request(begin)
    app.after_request(finish)
