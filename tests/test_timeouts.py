"""Every wait has an end, with the time-outs as they are deployed. See test_outages.py, too."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from books_api.config import Settings
from books_api.database import CONNECT, SESSION, Statement, autocommit
from books_api.extensions import db, redis
from books_api.observability import health
from books_api.redis_client import REDIS_TIMEOUT
from tests.conftest import Account, Servers
from tests.helpers import BOOKS, locked, within
from tests.processes import gunicorn_config, running_gunicorn

THREADS = gunicorn_config()["threads"]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def url(app: Flask, settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The service with one worker."""
    with running_gunicorn(tmp_path, settings, WEB_CONCURRENCY="1") as gunicorn:
        yield gunicorn.url


@pytest.mark.long
def test_stuck_queries_are_503_in_seconds_and_free_their_worker(
    servers: Servers, url: str, alice: Account
) -> None:
    def get(_: object = None) -> requests.Response:
        return requests.get(f"{url}{BOOKS}/", headers=alice.headers, timeout=30)

    with (
        locked(servers, "LOCK TABLE books IN ACCESS EXCLUSIVE MODE"),
        ThreadPoolExecutor(THREADS) as clients,
        within(SESSION["lock_timeout"] / 1000 + 2),
    ):
        stuck = list(clients.map(get, range(THREADS)))  # the whole worker

    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in stuck} == {(503, "1")}
    assert get().status_code == 200


@pytest.mark.long
def test_a_statement_ends_after_its_time(app: Flask) -> None:
    seconds = SESSION["statement_timeout"] / 1000

    with (
        app.app_context(),
        autocommit() as connection,
        within(seconds + 1),
        pytest.raises(DBAPIError) as ended,
    ):
        connection.execute(text("SELECT pg_sleep(30)"))

    assert "statement timeout" in str(ended.value.orig)


def test_a_transaction_that_does_nothing_is_ended(
    make_app: Callable[..., Flask], settings: Settings
) -> None:
    options = "&options=-c%20idle_in_transaction_session_timeout%3D100"
    app = make_app(database_url=settings.database_url + options)

    with app.app_context(), db.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        time.sleep(0.5)
        with pytest.raises(DBAPIError) as ended:
            connection.execute(text("SELECT 1"))
        db.engine.dispose()

    assert ended.value.connection_invalidated


@pytest.mark.long
def test_a_wait_for_the_pool_ends(make_app: Callable[..., Flask], alice: Account) -> None:
    app = make_app(database_pool_size=1)

    with app.app_context(), db.engine.connect(), within(2 + 1):
        response = app.test_client().get(BOOKS, headers=alice.headers)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


@pytest.mark.long
def test_connecting_to_a_postgres_that_is_silent_ends(
    make_app: Callable[..., Flask], alice: Account, silent: int
) -> None:
    app = make_app(database_url=f"postgresql+psycopg2://books@127.0.0.1:{silent}/books")

    with within(CONNECT["connect_timeout"] + 2):
        response = app.test_client().get(BOOKS, headers=alice.headers)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_connecting_to_a_redis_that_is_silent_ends(
    make_app: Callable[..., Flask], alice: Account, silent: int
) -> None:
    app = make_app(redis_url=f"redis://127.0.0.1:{silent}/0")

    with app.app_context(), within(2 * REDIS_TIMEOUT + 0.5), pytest.raises(RedisError):
        redis.client.ping()
    with within(4 * REDIS_TIMEOUT + 0.5):
        response = app.test_client().get(BOOKS, headers=alice.headers)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def answer(client: Any, path: str) -> tuple[int, set[str]]:
    """The status, and the names of the checks that are not passed."""
    response = client.get(path)
    checks = response.json.get("checks", {})
    return response.status_code, {name for name, check in checks.items() if not check["ok"]}


def test_probes_end_in_time_when_the_pool_is_exhausted(make_app: Callable[..., Flask]) -> None:
    app = make_app(database_pool_size=1)

    with app.app_context(), db.engine.connect():
        with within(health.TIMEOUT + 0.5):
            ready = answer(app.test_client(), "/readyz")
        with within(0.5):
            alive = answer(app.test_client(), "/healthz")

    assert ready == (503, {"database", "migrations"})
    assert alive == (200, set())


def test_probes_end_in_time_when_postgres_is_silent(
    make_app: Callable[..., Flask], silent: int
) -> None:
    app = make_app(database_url=f"postgresql+psycopg2://books@127.0.0.1:{silent}/books")

    with within(health.TIMEOUT + 0.5):
        ready = answer(app.test_client(), "/readyz")

    assert ready == (503, {"database", "migrations"})


def test_setting_before_a_statement_holds_for_it_alone(app: Flask) -> None:
    setting = text("SELECT current_setting('enable_sort')")
    with app.app_context():
        assert Statement(setting).preceded_by("SET LOCAL enable_sort = off").rows() == [("off",)]
        assert Statement(setting).rows() == [("on",)]
