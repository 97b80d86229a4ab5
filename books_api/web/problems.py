"""Every error as problem details (RFC 9457)."""

import logging
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from flask import Flask, Response, request
from gunicorn.http.errors import NoMoreData, ParseException
from psycopg2 import errorcodes
from redis.exceptions import RedisError
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError, NotFound

from books_api.auth import exceptions as auth
from books_api.books import exceptions as books
from books_api.catalogues import exceptions as catalogues
from books_api.catalogues.columns import UnknownColumn
from books_api.catalogues.encodings import UnreadableCatalogue
from books_api.observability.logs import logger, request_id
from books_api.web.pagination import InvalidCursor
from books_api.web.parsing import InvalidInput

CHALLENGE = 'Bearer realm="books-api"'
ERRORS_MAX = 100  # or a small request has a large answer
RETRY_AFTER = {"Retry-After": "1"}
# Domain errors, by class. One with a `field` says which one of the request it is about.
STATUS: dict[type[Exception], HTTPStatus] = {
    auth.EmailTaken: HTTPStatus.CONFLICT,
    auth.Forbidden: HTTPStatus.FORBIDDEN,
    auth.LastAdmin: HTTPStatus.CONFLICT,
    auth.PasswordRequired: HTTPStatus.UNPROCESSABLE_ENTITY,
    auth.ResetTokenRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    auth.SessionNotFound: HTTPStatus.NOT_FOUND,
    auth.SignupDisabled: HTTPStatus.FORBIDDEN,
    auth.TokenRefused: HTTPStatus.UNAUTHORIZED,
    auth.TooBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    auth.UserNotFound: HTTPStatus.NOT_FOUND,
    auth.UsernameTaken: HTTPStatus.CONFLICT,
    auth.WeakPassword: HTTPStatus.UNPROCESSABLE_ENTITY,
    auth.WrongCredentials: HTTPStatus.UNAUTHORIZED,
    auth.WrongPassword: HTTPStatus.UNPROCESSABLE_ENTITY,
    books.BookNotFound: HTTPStatus.NOT_FOUND,
    catalogues.ImportRunning: HTTPStatus.CONFLICT,
    books.KeyInUse: HTTPStatus.CONFLICT,
    books.NotTheOwner: HTTPStatus.FORBIDDEN,
}
# Postgres is away, overloaded or told to stop: try again. By SQLSTATE and its class.
UNAVAILABLE_CLASSES = (
    errorcodes.CLASS_CONNECTION_EXCEPTION,
    errorcodes.CLASS_TRANSACTION_ROLLBACK,
    errorcodes.CLASS_INSUFFICIENT_RESOURCES,
    errorcodes.CLASS_OPERATOR_INTERVENTION,
    errorcodes.CLASS_SYSTEM_ERROR,
)
UNAVAILABLE_CODES = (errorcodes.LOCK_NOT_AVAILABLE, errorcodes.READ_ONLY_SQL_TRANSACTION)
# What comes without a SQLSTATE comes from libpq: a DatabaseError, not one of its subclasses, when
# the connection breaks and libpq has not marked it as bad yet.
UNAVAILABLE_ERRORS = (OperationalError, InterfaceError, DatabaseError)


def problem(
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """Return the error as application/problem+json, with further members."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": quote(request.path),
        "request_id": request_id(),
        **members,
    }
    return Response(
        orjson.dumps(body, option=orjson.OPT_UTC_Z),
        status,
        headers,
        content_type="application/problem+json",
    )


def init_app(app: Flask) -> None:
    """Register the handlers; after every extension that brings its own."""
    app.register_error_handler(HTTPException, handle_http_exception)
    app.register_error_handler(InternalServerError, handle_unexpected)
    app.register_error_handler(ParseException, handle_broken_body)
    app.register_error_handler(NoMoreData, handle_broken_body)
    app.register_error_handler(InvalidInput, handle_invalid_input)
    app.register_error_handler(InvalidCursor, handle_invalid_cursor)
    app.register_error_handler(UnknownColumn, handle_invalid_catalogue)
    app.register_error_handler(UnreadableCatalogue, handle_invalid_catalogue)
    app.register_error_handler(books.KeyReused, handle_key_reused)
    app.register_error_handler(DBAPIError, handle_database_error)
    app.register_error_handler(PoolTimeout, handle_unavailable)
    app.register_error_handler(RedisError, handle_unavailable)
    app.register_error_handler(books.BookChanged, handle_book_changed)
    for error in STATUS:
        app.register_error_handler(error, handle_domain_error)


def handle_http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.response is not None or error.code < 400:
        return error
    kept = {
        name: value
        for name, value in error.get_headers()
        if name not in ("Content-Type", "Content-Length")
    }
    detail = error.description or ""
    if isinstance(error, NotFound) and detail == NotFound.description:
        detail = "There is nothing at this address."  # werkzeug's own sentence is for browsers
    return problem(error.code, detail, headers=kept)


def handle_broken_body(error: Exception) -> Response:
    # gunicorn's, out of a chunked body: werkzeug knows only the OSErrors, and not everywhere.
    return problem(400, "The body is cut off, or its chunks are malformed.")


def handle_unexpected(error: InternalServerError) -> Response:
    # Flask has logged the original exception, with its traceback.
    return problem(500, "Something went wrong here. The request id helps the operator to find it.")


def handle_domain_error(error: Exception) -> Response:
    status = STATUS[type(error)]
    detail = str(error)
    members: dict[str, Any] = {}
    field = getattr(error, "field", None)
    if field is not None:
        members["errors"] = [{"pointer": f"/{field}", "detail": detail}]
        if not isinstance(error, (auth.EmailTaken, auth.UsernameTaken)):
            detail = f"{field}: {detail}"
    return problem(status, detail, headers=_headers_for(error), **members)


def _headers_for(error: Exception) -> dict[str, str]:
    match error:
        case auth.WrongCredentials():
            return {"WWW-Authenticate": CHALLENGE}
        case auth.TokenRefused(error=None):  # RFC 6750, 3: no code without credentials
            return {"WWW-Authenticate": CHALLENGE}
        case auth.TokenRefused(error=code) | auth.Forbidden(error=str(code)):
            described = f'error="{code}", error_description="{error}"'
            return {"WWW-Authenticate": f"{CHALLENGE}, {described}"}
        case auth.TooBusy() | books.KeyInUse() | catalogues.ImportRunning():
            return RETRY_AFTER
    return {}


def handle_book_changed(error: books.BookChanged) -> Response:
    return problem(412, str(error), headers={"ETag": error.etag}, current=error.current)


def handle_invalid_cursor(error: InvalidCursor) -> Response:
    return handle_invalid_input(InvalidInput({error.field: [str(error)]}, "query"))


def handle_invalid_catalogue(error: Exception) -> Response:
    return handle_invalid_input(InvalidInput([str(error)], "json"))  # about the body as a whole


def handle_key_reused(error: books.KeyReused) -> Response:
    return handle_invalid_input(InvalidInput({"Idempotency-Key": [str(error)]}, "header"))


def handle_invalid_input(error: InvalidInput) -> Response:
    if error.location == "json":
        kind, found = "pointer", list(_messages(error.messages))
    else:
        kind = "parameter" if error.location == "query" else "header"
        found = [(name, text) for name, texts in error.messages.items() for text in texts]
    errors = [{kind: where, "detail": text} for where, text in found]
    (where, text), *_ = found
    name = where.removeprefix("/") if kind == "pointer" else where
    detail = f"{name}: {text}" if name else text
    if len(errors) > 1:
        detail += f" And {len(errors) - 1} more."
    return problem(422, detail, errors=errors[:ERRORS_MAX])


def _messages(tree: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Flatten marshmallow's tree of messages to JSON pointers (RFC 6901) and sentences."""
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            step = "/" + str(key).replace("~", "~0").replace("/", "~1")
            yield from _messages(branch, pointer + step)
    else:
        for text in [tree] if isinstance(tree, str) else tree:
            yield pointer, text


def handle_database_error(error: DBAPIError) -> Response:
    code = getattr(error.orig, "pgcode", None)
    if code is None:
        away = type(error) in UNAVAILABLE_ERRORS
    else:
        away = code[:2] in UNAVAILABLE_CLASSES or code in UNAVAILABLE_CODES
    if away:
        return handle_unavailable(error)
    # Not the exception: Postgres's detail repeats the row, with a hash perhaps.
    reason = str(error.orig).partition("\n")[0]
    logger.error("unexpected database error %s: %s in %s", code, reason, error.statement)
    return handle_unexpected(InternalServerError(original_exception=error))


def handle_unavailable(error: Exception) -> Response:
    # The first line only: the rest repeats the statement with its parameters.
    reason = str(getattr(error, "orig", error)).partition("\n")[0]
    logger.log(logging.WARNING, "unavailable: %s", reason)
    return problem(
        503, "The service is briefly unavailable; try again in a moment.", headers=RETRY_AFTER
    )
