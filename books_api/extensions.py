"""The extensions: made here, bound to an application in create_app()."""

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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
from sqlalchemy import Connection, MetaData, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase

REDIS_TIMEOUT = 0.25  # seconds


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
    if url.startswith("redis+sentinel://"):
        return _sentinel_client(url, options)
    return RedisClient.from_url(url, **options)


def _sentinel_client(url: str, options: dict[str, Any]) -> RedisClient:
    """Return a client for redis+sentinel://[user:password@]host:port,host:port/service[/db]."""
    authority, _, path = url.removeprefix("redis+sentinel://").partition("/")
    credentials, _, hosts = authority.rpartition("@")
    service, _, db = path.partition("/")
    if credentials:
        login = make_url(f"redis://{credentials}@sentinel")
        options = {**options, "username": login.username or None, "password": login.password}
    nodes = []
    for node in hosts.split(","):
        host, _, port = node.partition(":")
        if not host:
            raise ValueError("a Sentinel without a host")
        nodes.append((host, int(port or 26379)))
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # it has no types
        nodes, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT
    )
    client: RedisClient = sentinel.master_for(service or "mymaster", db=int(db or 0), **options)
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
    """Bind the database, with a second engine for statements that need no transaction."""
    db.init_app(app)
    with app.app_context():
        engine = db.engine
        event.listen(engine, "checkout", _refuse_closed)
        engine.dialect.set_isolation_level = _set_autocommit  # type: ignore[method-assign]
        app.extensions["autocommit"] = engine.execution_options(isolation_level="AUTOCOMMIT")


def autocommit() -> Connection:
    """Return a connection, to be used in a `with`, on which each statement is one round trip.

    It shares the pool with db.session, and what it runs is committed at once.
    """
    connection: Connection = current_app.extensions["autocommit"].connect()
    return connection


def _set_autocommit(dbapi_connection: Any, level: str) -> None:
    # SQLAlchemy names a level when it takes a connection back, and psycopg2 tells Postgres: one
    # more round trip, and where it fails the pool has lost the connection's place for good.
    # This sends nothing.
    dbapi_connection.autocommit = level == "AUTOCOMMIT"


def _refuse_closed(dbapi_connection: Any, record: object, proxy: object) -> None:
    # An idle connection has nothing to read unless Postgres has closed it (restart, failover).
    # One system call in place of the round trip of pool_pre_ping.
    poll = select.poll()
    poll.register(dbapi_connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError("closed by the server")
