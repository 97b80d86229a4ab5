"""The one door to Postgres, but for the ORM's session of accounts (extensions.db.session).

- Statement: compiled once, run by the driver, in autocommit or within a transaction. For what
  requests do all the time: with a lighter limiter it took a read from 1,201 to 883 thousand
  instructions (docs/performance.md). It is as safe as SQLAlchemy's Core: the same compiler writes
  the text, the driver quotes the values, and errors come as SQLAlchemy's.
- transaction(): commits what its body does; `long` for the work of operators.
- autocommit(): a connection for the rare statements that are written where they are used.
"""

import os
import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self, cast

import psycopg2
from flask import Flask
from sqlalchemy import ClauseElement, Connection, Engine, event, text
from sqlalchemy.dialects.postgresql import psycopg2 as dialect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError

from books_api.config import Settings
from books_api.extensions import db, extension
from books_api.observability.metrics import WatchedPool
from books_api.watchdog import DEADLINE, DeadlineConnection, Server

Rows = list[tuple[Any, ...]]
STANDBY = "standby"  # the engine of DATABASE_READ_URL, and the extension that asks it, or None
APPLICATION = "books-api"  # what Postgres knows a process by, with its id
# libpq's words, see its documentation, 32.1.2 and 32.1.1: seconds, but tcp_user_timeout.
CONNECT = {
    "connect_timeout": 2,  # for each host
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 3_000,  # until it is known that nobody acknowledges
}
# Milliseconds. Every wait has an end: a stuck query must not hold its worker.
SESSION = {
    "statement_timeout": 5_000,
    "lock_timeout": 2_000,
    "idle_in_transaction_session_timeout": 5_000,  # of a frozen host, whose locks others wait for
}
STANDBY_TIMEOUT = 1_500  # milliseconds: then the primary has its own 5 s
# A wait for a lock ends first, or an import could not tell that it waited for another.
LONG = text("SET LOCAL lock_timeout = '9min'; SET LOCAL statement_timeout = '10min'")
LONG_DEADLINE = 11 * 60.0  # seconds


def init_app(app: Flask) -> None:
    """Bind the database."""
    settings: Settings = app.config["SETTINGS"]
    urls = {None: settings.database_url, STANDBY: settings.database_read_url}
    app.config["SQLALCHEMY_BINDS"] = {
        name: engine_options(settings, url, name or "primary") for name, url in urls.items() if url
    }
    db.init_app(app)
    app.teardown_appcontext(_end_transaction)
    with app.app_context():
        for engine in db.engines.values():
            event.listen(engine, "do_connect", Server().connect)
            event.listen(engine, "connect", _connected)
            event.listen(engine, "checkout", _check_out)


def engine_options(settings: Settings, url: str, server: str) -> dict[str, Any]:
    """Return SQLAlchemy's engine options. What `options` in the URL sets wins over ours."""
    session = SESSION | ({"statement_timeout": STANDBY_TIMEOUT} if server == STANDBY else {})
    ours = " ".join(f"-c {name}={value}" for name, value in session.items())
    query = make_url(url).query
    theirs = query.get("options", "")
    return {
        "url": url,
        "poolclass": WatchedPool,
        "pool_size": settings.database_pool_size,
        "max_overflow": 0,
        "pool_timeout": 2,
        "pool_recycle": 1800,
        "connect_args": {
            **CONNECT,
            "application_name": f"{APPLICATION} {os.getpid()}",
            # A standby is no primary: its rows are late, and it takes none.
            "target_session_attrs": query.get("target_session_attrs", server),
            "options": f"{ours} {theirs} -c timezone=UTC",
            "connection_factory": DeadlineConnection,
        },
        "hide_parameters": True,  # or a logged error shows hashes and email addresses
    }


class Statement:
    """A statement that is compiled once and run by the driver itself."""

    def __init__(self, statement: ClauseElement) -> None:
        postgres = dialect.dialect()  # type: ignore[no-untyped-call]  # it has no types
        compiled = statement.compile(dialect=postgres)
        self.text, self.parameters = str(compiled), compiled.params

    def preceded_by(self, sql: str) -> Self:
        """Have the server run this before, in the same transaction and round trip."""
        self.text = f"{sql}; {self.text}"
        return self

    def rows(self, *, connection: Connection | None = None, **parameters: Any) -> Rows:
        """Return the rows; a UUID is text, both ways. Raises DBAPIError and TimeoutError.

        It is committed at once unless it joins the transaction of a connection.
        """
        parameters = {**self.parameters, **parameters}
        try:
            if connection is not None:
                return driver(connection).rows(self.text, parameters)
            standby = extension(STANDBY)
            late: Rows | None = standby and standby.rows(self.text, parameters)
            return pooled_rows(db.engine, self.text, parameters) if late is None else late
        except psycopg2.Error as error:
            raise DBAPIError.instance(self.text, None, error, psycopg2.Error) from error


def pooled_rows(engine: Engine, statement: str, parameters: Mapping[str, Any]) -> Rows:
    """Return the rows of the driver's statement, committed at once. Raises psycopg2.Error too."""
    pooled = engine.raw_connection()
    dbapi_connection = cast(DeadlineConnection, pooled.dbapi_connection)
    try:
        dbapi_connection.autocommit = True
        return dbapi_connection.rows(statement, parameters)
    except psycopg2.Error:
        if dbapi_connection.closed:
            pooled.invalidate()
        raise
    finally:
        pooled.close()


@contextmanager
def transaction(*, long: bool = False) -> Iterator[Connection]:
    """Commit what the body does on the connection; `long` is for an operator's work."""
    with db.engine.begin() as connection:
        if long:
            allow_long(connection)
        yield connection


@contextmanager
def orm_transaction() -> Iterator[Connection]:
    """Commit what the body of the `with` does in the ORM's session, on the session's connection."""
    yield db.session.connection()
    db.session.commit()


def allow_long(connection: Connection) -> None:
    """Let the connection's transaction take longer than a request may."""
    connection.execute(LONG)
    driver(connection).seconds = LONG_DEADLINE


@contextmanager
def translate(sqlstate: str, problem: Callable[[], Exception]) -> Iterator[None]:
    """Raise the problem for an error with this SQLSTATE in the body of the `with`."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != sqlstate:
            raise
        raise problem() from error


def driver(connection: Connection) -> DeadlineConnection:
    """Return the driver's connection."""
    return cast(DeadlineConnection, connection.connection.dbapi_connection)


def autocommit() -> Connection:
    """Return a connection, to be used in a `with`, on which each statement is one round trip.

    It shares the pool with db.session, and what it runs is committed at once.
    """
    connection = db.engine.connect()
    # The driver's own switch: SQLAlchemy's isolation level costs a round trip each time, for a
    # SET when the connection goes back.
    driver(connection).autocommit = True
    return connection


def _connected(dbapi_connection: Any, record: Any) -> None:
    record.info["is_new"] = True


def _check_out(dbapi_connection: Any, record: Any, proxy: object) -> None:
    # An idle connection has nothing to read unless Postgres has closed it (restart, failover).
    # One system call in place of the round trip of pool_pre_ping. A new one is not looked at: the
    # pool gives up, with an error of its own, when two in a row are closed.
    if not record.info.pop("is_new", False):
        poll = select.poll()
        poll.register(dbapi_connection.fileno(), select.POLLIN)
        if poll.poll(0):
            raise DisconnectionError("closed by the server")
    dbapi_connection.autocommit = False
    dbapi_connection.seconds = DEADLINE


def _end_transaction(error: BaseException | None) -> None:
    # Before the extension does it: what dies here with Postgres was not to be committed, and the
    # answer stands.
    if db.session.registry.has():
        with suppress(DBAPIError):
            db.session.rollback()
