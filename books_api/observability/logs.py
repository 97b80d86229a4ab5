"""Log lines: JSON for production, readable for development; security events; request ids."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from flask import has_request_context, request

logger = logging.getLogger("books_api")
security_logger = logging.getLogger("books_api.security")
request_logger = logging.getLogger("books_api.requests")
# What each of them means is in docs/security.md.
Event = Literal[
    "access_denied",
    "email_changed",
    "login",
    "login_failed",
    "logout",
    "logout_everywhere",
    "password_changed",
    "password_confirmation_failed",
    "password_reset_failed",
    "password_reset_issued",
    "password_set",
    "rate_limited",
    "refresh_token_reused",
    "script_token_created",
    "session_ended",
    "token_refreshed",
    "token_refused",
    "user_changed",
    "user_created",
    "user_deleted",
]
LIBRARIES = ("sqlalchemy",)  # what warns from below: in the same format


class JSONFormatter(logging.Formatter):
    """One JSON object a line, with the request's id and `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, option=orjson.OPT_UTC_Z, default=str).decode()


class TextFormatter(logging.Formatter):
    """The same for people: time, level, message, name=value."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the library's name
        fields = (f"{name}={value}" for name, value in _fields(record).items())
        return " ".join([super().formatMessage(record), *fields])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    if "request_id" not in fields and has_request_context():
        fields = {**fields, "request_id": request_id()}
    return fields


FORMATTERS = {
    "json": JSONFormatter(),
    "text": TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"),
}


def request_id() -> str:
    """Return the id of the current request."""
    identifier: str = request.id  # type: ignore[attr-defined]  # of requests.Request
    return identifier


def security_event(event: Event, level: int = logging.INFO, **fields: Any) -> None:
    """Log what an operator may have to answer for. Never a token, a password or a hash.

    Within a request it has the client's address, and the user that a token of ours names.
    """
    details: dict[str, Any] = {"event": event, **fields}
    if has_request_context():
        details["address"] = request.remote_addr
        if bearer := request.bearer:  # type: ignore[attr-defined]  # of requests.Request
            details.setdefault("user_id", bearer.user_id)
    security_logger.log(level, event, extra={"fields": details})


def log_request(request: Any, route: str, status: int, seconds: float) -> None:
    """Log a requests.Request, answered after so many seconds."""
    if not request_logger.isEnabledFor(logging.INFO):
        return
    record = logging.LogRecord(request_logger.name, logging.INFO, "", 0, "request", None, None)
    record.fields = {
        "method": request.method,
        "route": route,
        "status": status,
        "milliseconds": round(seconds * 1000, 2),
        "user_id": request.identity.user_id if request.identity else None,
        "request_id": request.id,
    }
    request_logger.handle(record)  # info() looks up the line of code: as long as all the rest


def init(log_format: str) -> None:
    """Log to stderr in the format."""
    # What no format shows is not looked up for each line (Logging HOWTO, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # since Python 3.12
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[log_format])
    logger.setLevel(logging.INFO)
    for name in (logger.name, *LIBRARIES):
        logging.getLogger(name).handlers = [handler]
