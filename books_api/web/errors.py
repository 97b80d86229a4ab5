"""Error handlers: every exception that reaches Flask is answered with problem details."""

from flask import Flask, Response
from gunicorn.http.errors import NoMoreData, ParseException
from psycopg2 import errorcodes
from redis.exceptions import RedisError
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.exceptions import NotFound as PageNotFound

from books_api.observability.logs import logger
from books_api.web import problems
from books_api.web.problems import Problem, problem_response

OF_STATUS = {
    kind.status: kind
    for kind in (
        problems.MalformedRequest,
        problems.NotFound,
        problems.MethodNotAllowed,
        problems.ContentTooLarge,
        problems.UnsupportedMediaType,
        problems.RateLimited,
    )
}
OF_BODIES = ("Content-Type", "Content-Length")
# Postgres is down, overloaded or shutting down: a retry may succeed. By SQLSTATE and its class.
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


def init_app(app: Flask) -> None:
    """Register the handlers; after every extension that brings its own."""
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, handle_http_exception)
    app.register_error_handler(InternalServerError, handle_unexpected)
    app.register_error_handler(ParseException, handle_broken_body)
    app.register_error_handler(NoMoreData, handle_broken_body)
    app.register_error_handler(DBAPIError, handle_database_error)
    app.register_error_handler(PoolTimeout, handle_unavailable)
    app.register_error_handler(RedisError, handle_unavailable)


def handle_http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.response is not None or error.code < 400:
        return error
    kept = {name: value for name, value in error.get_headers() if name not in OF_BODIES}
    detail = error.description
    if isinstance(error, PageNotFound) and detail == PageNotFound.description:
        detail = None  # werkzeug's sentence is for browsers
    kind = OF_STATUS.get(error.code, problems.MalformedRequest)
    return problem_response(kind(detail, status=error.code, headers=kept))


def handle_broken_body(error: Exception) -> Response:
    # gunicorn's, out of a chunked body: werkzeug knows only the OSErrors, and not everywhere.
    detail = "The body is cut off, or its chunks are malformed."
    return problem_response(problems.MalformedRequest(detail))


def handle_unexpected(error: InternalServerError) -> Response:
    # Flask has logged the original exception, with its traceback.
    return problem_response(problems.InternalError())


def handle_database_error(error: DBAPIError) -> Response:
    code = getattr(error.orig, "pgcode", None)
    if code is None:
        unavailable = type(error) in UNAVAILABLE_ERRORS
    else:
        unavailable = code[:2] in UNAVAILABLE_CLASSES or code in UNAVAILABLE_CODES
    if unavailable:
        return handle_unavailable(error)
    # Not the exception: Postgres's detail repeats the row, with a hash perhaps.
    reason = str(error.orig).partition("\n")[0]
    logger.error("unexpected database error %s: %s in %s", code, reason, error.statement)
    return handle_unexpected(InternalServerError(original_exception=error))


def handle_unavailable(error: Exception) -> Response:
    # The first line only: the rest repeats the statement with its parameters.
    logger.warning("unavailable: %s", str(getattr(error, "orig", error)).partition("\n")[0])
    return problem_response(problems.Unavailable())
