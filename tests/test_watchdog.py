"""A frozen Postgres, for which the kernel still acknowledges: every wait ends, then all is well."""

import errno
import itertools
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from books_api import PREFIX, create_app, database, watchdog
from books_api.config import Settings
from books_api.database import Statement, autocommit, transaction
from books_api.extensions import db
from books_api.watchdog import GREETING, PAUSE, SUSPICION, TICK, DeadlineConnection
from development.embedded import Postgres
from tests.conftest import Account, Servers
from tests.helpers import BOOKS, MOMO, within
from tests.processes import running_gunicorn, wait_until

SHORT = 0.3
CONNECTING = 3  # seconds
CSV = b"title,author\n" + b"Momo,Ende\n" * 20_000
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/books/", {}),
    ("POST", "/books/", {"json": MOMO}),
    ("POST", "/books/", {"json": MOMO, "headers": {"Idempotency-Key": "k"}}),
    ("GET", "/auth/me", {}),
    ("PATCH", "/auth/me", {"json": {"first_name": "Alice"}}),
    ("POST", "/books/import", {"data": CSV, "content_type": "text/csv"}),
]


@contextmanager
def frozen(postgres: Postgres) -> Iterator[None]:
    """Stop every process of the server; what is sent to it stays in the kernel."""
    postmaster = int((postgres._data / "postmaster.pid").read_text().partition("\n")[0])
    stopped: list[int] = []

    def stop(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)

    try:
        stop(postmaster)
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            stop(int(child))
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def app_in_haste(
    app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """An application with short deadlines, all of whose connections stand.

    A new one: another may have met a frozen server a moment ago.
    """
    monkeypatch.setattr(database, "DEADLINE", SHORT)
    monkeypatch.setattr(DeadlineConnection, "seconds", SHORT)
    monkeypatch.setattr(watchdog, "TICK", 0.05)
    app = create_app(replace(settings, database_pool_size=3))
    with app.app_context():
        with autocommit(), autocommit(), autocommit():
            pass
        yield app
        db.engine.dispose()


@pytest.mark.parametrize(("method", "path", "options"), REQUESTS)
def test_a_request_is_503(app_in_haste, servers, alice, method, path, options):
    client = app_in_haste.test_client()
    options = {**options, "headers": {**alice.headers, **options.get("headers", {})}}

    with frozen(servers.postgres), within(SHORT + 4 * TICK):
        response = client.open(PREFIX + path, method=method, **options)

    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert response.headers["Retry-After"] == "1"


def send_import(app: Flask, account: Account) -> Any:
    return app.test_client().post(
        f"{BOOKS}/import", data=CSV, content_type="text/csv", headers=account.headers
    )


def count_books(app: Flask) -> Any:
    with app.app_context(), autocommit() as connection:
        return connection.scalar(text("SELECT count(*) FROM books"))


def test_an_import_frozen_in_its_second_copy_is_503_and_writes_nothing(
    app, app_in_haste, servers, alice
):
    with ExitStack() as stack:
        staged = itertools.count(1)

        @event.listens_for(db.engine, "after_cursor_execute")
        def freeze(connection, cursor, statement, *_):
            if "CREATE TEMPORARY TABLE" in statement and next(staged) == 2:
                stack.enter_context(frozen(servers.postgres))

        response = send_import(app_in_haste, alice)

    assert response.status_code == 503
    assert count_books(app) == 0


def test_a_commit_that_is_frozen_is_503(app_in_haste, servers, alice):
    with ExitStack() as stack:

        @event.listens_for(db.engine, "commit")
        def freeze(connection):
            stack.enter_context(frozen(servers.postgres))

        response = app_in_haste.test_client().patch(
            f"{PREFIX}/auth/me", json={"first_name": "Alice"}, headers=alice.headers
        )

    assert response.status_code == 503


def test_a_cursor_on_the_server_has_the_deadline(app_in_haste, servers):
    with transaction() as connection:
        streamed = connection.execution_options(stream_results=True, max_row_buffer=10)
        rows = streamed.execute(text("SELECT generate_series(1, 100000)")).partitions(10)
        next(rows)
        with frozen(servers.postgres), within(SHORT + 4 * TICK), pytest.raises(OperationalError):
            list(rows)
        connection.rollback()


def test_the_idle_connections_go_with_an_overdue_one(app_in_haste, servers):
    read = Statement(text("SELECT 1"))

    with frozen(servers.postgres):
        with within(SHORT + 4 * TICK), pytest.raises(OperationalError):
            read.rows()
        with within(SHORT):
            for _ in range(10):
                with pytest.raises(OperationalError, match="did not answer a moment ago"):
                    read.rows()


def test_idle_connections_go_with_one_that_breaks(app_in_haste):
    with autocommit() as connection:
        idle = database.driver(connection)

    with suppress(DBAPIError), autocommit() as connection:
        assert database.driver(connection) is not idle
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    assert idle.is_shut


def test_connection_that_takes_no_writes_any_more_is_left(app_in_haste, alice):
    for _ in range(3):
        with autocommit() as connection:
            connection.execute(text("SET default_transaction_read_only = on"))
    client = app_in_haste.test_client()

    statuses = [
        client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers).status_code for _ in range(3)
    ]

    assert statuses == [503, 201, 201]


def test_host_that_answered_last_is_tried_first(make_app, settings):
    real = make_url(settings.database_url).query["host"]
    app = make_app(database_url=f"postgresql+psycopg2://postgres@/books?host=/nowhere,{real}")
    with app.app_context():
        with autocommit() as first, autocommit() as second:
            tried = [database.driver(each).info.dsn_parameters["host"] for each in (first, second)]
        db.engine.dispose()

    assert tried == [f"/nowhere,{real}", f"{real},/nowhere"]


def test_a_connection_in_use_by_a_long_transaction_is_spared(app_in_haste):
    with transaction(long=True) as connection:
        assert connection.scalar(text("SELECT 1 FROM pg_sleep(1)")) == 1


def test_a_long_transaction_ends_when_its_server_greets_nobody(app_in_haste, servers):
    with transaction(long=True) as connection:
        with (
            frozen(servers.postgres),
            within(SUSPICION + GREETING + 4 * TICK),
            pytest.raises(OperationalError, match=r"did not answer for [12]"),
        ):
            connection.execute(text("SELECT 1"))
        connection.rollback()


def test_silent_servers_are_asked_at_once(app_in_haste, tmp_path):
    def wait_for(path: str) -> None:
        with app_in_haste.app_context(), socket.socket(socket.AF_UNIX) as silent:
            silent.bind(path)
            silent.listen()
            with transaction(long=True) as connection:
                database.driver(connection).peer = path
                with pytest.raises(OperationalError, match=r"did not answer for [12]"):
                    connection.execute(text("SELECT pg_sleep(9)"))
                connection.rollback()

    with ThreadPoolExecutor(3) as pool, within(SUSPICION + GREETING + 4 * TICK):
        list(pool.map(wait_for, [str(tmp_path / name) for name in "abc"]))


def test_connection_that_breaks_at_once_is_503(make_app, alice, monkeypatch):
    client = make_app().test_client()

    def is_broken(_: object) -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "getpeername", is_broken)
        broken = client.get(BOOKS, headers=alice.headers)
    afterwards = client.get(BOOKS, headers=alice.headers)

    assert (broken.status_code, afterwards.status_code) == (503, 200)


def test_a_server_that_cannot_be_asked_from_here_is_given_time(app_in_haste, settings):
    sockets = Path(make_url(settings.database_url).query["host"]).glob(".s.PGSQL.*[0-9]")
    path = next(sockets)
    with transaction(long=True) as connection:
        elsewhere = path.rename(f"{path}.moved")
        try:
            assert connection.scalar(text("SELECT 1 FROM pg_sleep(1.5)")) == 1
        finally:
            elsewhere.rename(path)


def test_a_long_transaction_leaves_the_next_one_its_deadline(app_in_haste):
    with transaction(long=True):
        pass

    with autocommit() as connection:
        assert database.driver(connection).seconds == SHORT


def test_requests_succeed_again_when_the_server_goes_on(app_in_haste, servers, alice):
    client = app_in_haste.test_client()
    with frozen(servers.postgres):
        client.get(BOOKS, headers=alice.headers)

    time.sleep(PAUSE)
    statuses = {client.get(BOOKS, headers=alice.headers).status_code for _ in range(5)}

    assert statuses == {200}


def test_no_descriptor_is_left_of_closed_connections(make_app):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with make_app().app_context():
        before = descriptors()
        for _ in range(5):
            with autocommit(), autocommit():
                pass
            db.engine.dispose()

    assert descriptors() == before


def test_a_shut_down_hits_no_other_socket(app_in_haste):
    with autocommit() as connection:
        driver = database.driver(connection)
        connection.invalidate()
    with autocommit() as other:  # has the numbers of the first one's descriptors
        driver.shut()

        assert other.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize(
    "arguments", [["users", "list"], ["books", "export"], ["maintenance", "prune"]]
)
def test_a_command_ends_with_one_line(app_in_haste, servers, arguments):
    with frozen(servers.postgres):
        result = app_in_haste.test_cli_runner().invoke(args=arguments)

    assert result.exit_code == 1
    assert re.fullmatch("Error: .*Postgres did not answer.*\n", result.stderr)


@pytest.mark.long
def test_a_frozen_postgres_is_noticed_once(
    app: Flask, settings: Settings, servers: Servers, alice: Account, tmp_path: Path
) -> None:
    def get(path: str) -> tuple[int, float]:
        begun = time.monotonic()
        status = requests.get(gunicorn.url + path, headers=alice.headers, timeout=60).status_code
        return status, time.monotonic() - begun

    with (
        running_gunicorn(tmp_path, settings) as gunicorn,
        ThreadPoolExecutor(40) as clients,
    ):
        list(clients.map(get, [BOOKS] * 40))  # fills the pools
        with frozen(servers.postgres):
            stuck = clients.map(get, [BOOKS] * 16)
            time.sleep(0.5)
            meanwhile = get("/healthz")
            first = list(stuck)
            later = list(clients.map(get, [BOOKS] * 40))
            alive = [get("/healthz") for _ in range(20)]
            ready = [get("/readyz") for _ in range(5)]
        # While the first connects, the others of its worker are refused once more.
        wait_until(lambda: {status for status, _ in clients.map(get, [BOOKS] * 40)} == {200})
    assert {status for status, _ in first + later + ready} == {503}
    assert max(seconds for _, seconds in [*first, meanwhile]) < SUSPICION + GREETING + 8 * TICK
    assert max(seconds for _, seconds in later + ready) < CONNECTING + 1
    assert {status for status, _ in alive} == {200}
    assert max(seconds for _, seconds in alive) < 0.5
