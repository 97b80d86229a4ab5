"""The extensions: made here, bound to an application in create_app()."""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import psycopg2
from flask import Flask, current_app
from flask_cors import CORS
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_smorest import Api
from flask_sqlalchemy import SQLAlchemy
from redis import Redis as RedisClient
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel
from sqlalchemy import ClauseElement, Connection, Engine, MetaData, event, text
from sqlalchemy.dialects.postgresql import psycopg2 as dialect
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.orm import DeclarativeBase

from books_api.addresses import sentinel_address

REDIS_TIMEOUT = 0.25  # seconds
# A wait for a lock ends first, or an import could not tell that it waited for another.
PATIENCE = text("SET LOCAL lock_timeout = '9min'; SET LOCAL statement_timeout = '10min'")


class Base(DeclarativeBase):
    """Names constraints, so that a migration can name them too."""

    __mapper_args__ = {"eager_defaults": True}  # what the server computes comes with RETURNING
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Redis:
    """One Redis client for each application, in app.extensions["redis"]."""

    def init_app(self, app: Flask, url: str, on_connect: Callable[[Any], None]) -> None:
        app.extensions["redis"] = make_redis_client(url, on_connect)

    @property
    def client(self) -> RedisClient:
        """The current application's client."""
        client: RedisClient = current_app.extensions["redis"]
        return client


def make_redis_client(url: str, on_connect: Callable[[Any], None] | None = None) -> RedisClient:
    """Return a client, which connects when it is first used. Raises ValueError for a bad URL."""
    # The library's own defaults retry for up to a minute.
    options: dict[str, Any] = {
        "socket_timeout": REDIS_TIMEOUT,
        "socket_connect_timeout": REDIS_TIMEOUT,
        "retry": Retry(NoBackoff(), 1, (RedisConnectionError, RedisTimeoutError)),
        "decode_responses": True,
        "redis_connect_func": on_connect,
    }
    if "+sentinel://" in url:
        return _sentinel_client(url, options)
    return RedisClient.from_url(url, **options)


def _sentinel_client(url: str, options: dict[str, Any]) -> RedisClient:
    nodes, service, ours = sentinel_address(url)
    waits = {"socket_timeout": REDIS_TIMEOUT, "socket_connect_timeout": REDIS_TIMEOUT}
    tls = {name: value for name, value in ours.items() if name.startswith("ssl")}
    sentinel: Any = Sentinel(nodes, sentinel_kwargs=waits | tls)  # type: ignore[no-untyped-call]  # it has no types
    client: RedisClient = sentinel.master_for(service, **options | ours)
    return client


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
if TYPE_CHECKING:
    Model = Base  # mypy takes no attribute of an object for a base class
else:
    Model = db.Model
migrate = Migrate()
jwt = JWTManager()
redis = Redis()
api = Api()
cors = CORS()


def init_database(app: Flask) -> None:
    """Bind the database."""
    db.init_app(app)
    app.teardown_appcontext(_end_transaction)
    with app.app_context():
        event.listen(db.engine, "connect", _connected)
        event.listen(db.engine, "checkout", _check_out)


def _end_transaction(error: BaseException | None) -> None:
    # Before the extension does it: what dies here with Postgres was not to be committed, and the
    # answer stands.
    if db.session.registry.has():
        with suppress(DBAPIError):
            db.session.rollback()


def autocommit(engine: Engine | None = None) -> Connection:
    """Return a connection, to be used in a `with`, on which each statement is one round trip.

    It shares the pool with db.session, and what it runs is committed at once. The engine is the
    current application's unless one is given.
    """
    connection = (engine or db.engine).connect()
    # The driver's own switch: SQLAlchemy's isolation level costs a round trip each time, for a
    # SET when the connection goes back.
    cast(Any, connection.connection.dbapi_connection).autocommit = True
    return connection


@contextmanager
def patiently() -> Iterator[Connection]:
    """Give a transaction to an operator's work, which takes longer than a request may."""
    with db.engine.begin() as connection:
        connection.execute(PATIENCE)
        yield connection


class DriverStatement:
    """A statement that is compiled once and run by the driver itself, in autocommit.

    SQLAlchemy's way from a statement to its rows costs more than the driver's, see
    docs/performance.md: this is for what most requests do.
    """

    def __init__(self, statement: ClauseElement) -> None:
        # The dialect has no types.
        compiled = statement.compile(dialect=dialect.dialect())  # type: ignore[no-untyped-call]
        self.text, self.parameters = str(compiled), compiled.params

    def rows(
        self, *, connection: Connection | None = None, **parameters: Any
    ) -> list[tuple[Any, ...]]:
        """Return the rows; a UUID is text, both ways. Raises DBAPIError and TimeoutError.

        With a connection, it joins its transaction.
        """
        try:
            if connection is not None:
                return self._run(connection.connection.dbapi_connection, parameters)
            pooled = db.engine.raw_connection()
            try:
                driver: Any = pooled.dbapi_connection
                driver.autocommit = True
                return self._run(driver, parameters)
            finally:
                pooled.close()
        except psycopg2.Error as error:
            raise DBAPIError.instance(self.text, None, error, psycopg2.Error) from error

    def _run(self, driver: Any, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with driver.cursor() as cursor:
            cursor.execute(self.text, {**self.parameters, **parameters})
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows


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
