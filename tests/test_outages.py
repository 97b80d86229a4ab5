"""Postgres or Redis away, stuck or full: 503 with Retry-After, and afterwards all is well."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, event, text

from books_api import PREFIX
from books_api.database import autocommit
from books_api.extensions import db
from tests.helpers import BOOKS, MOMO, locked, within

REQUESTS = [
    ("GET", "/books/{book}", None),
    ("GET", "/books/", None),
    ("GET", "/books/user/{user}", None),
    ("POST", "/books/", MOMO),
    ("PATCH", "/books/{book}", MOMO),
    ("DELETE", "/books/{book}", None),
    ("GET", "/auth/me", None),
    ("PATCH", "/auth/me", {"first_name": "Alice"}),
    ("GET", "/auth/sessions", None),
    ("POST", "/auth/logout", None),
]


@pytest.fixture
def book(client, alice, make_book):
    """Alice's book, read once, so that connections stand and Redis is filled."""
    book = make_book(alice)
    client.get(f"{BOOKS}/{book['id']}", headers=alice.headers)
    return book


@contextmanager
def away(server: Any) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


def answers(client, account, book):
    """The status and Retry-After of every kind of request."""
    found = {}
    for method, path, values in REQUESTS:
        path = PREFIX + path.format(book=book["id"], user=account.id)
        response = client.open(path, method=method, json=values, headers=account.headers)
        found[method, path] = (response.status_code, "Retry-After" in response.headers)
    return found


def assert_unavailable(response):
    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert response.headers["Retry-After"].isdigit()


@pytest.mark.parametrize("server", ["postgres", "redis"])
def test_every_request_is_503_while_a_server_is_away(servers, client, alice, book, server):
    with away(getattr(servers, server)):
        found = answers(client, alice, book)

    assert set(found.values()) == {(503, True)}, found


def test_the_first_request_after_a_restart_of_postgres_succeeds(servers, client, alice, book):
    with away(servers.postgres):
        pass

    response = client.get(f"{BOOKS}/{book['id']}", headers=alice.headers)

    assert (response.status_code, response.json) == (200, book)


@pytest.mark.parametrize("server", ["postgres", "redis"])
def test_the_first_request_after_a_failed_one_succeeds_once_the_server_is_back(
    servers, client, alice, book, server
):
    with away(getattr(servers, server)):
        client.get(f"{BOOKS}/{book['id']}", headers=alice.headers)

    response = client.get(f"{BOOKS}/{book['id']}", headers=alice.headers)

    assert response.status_code == 200


@pytest.mark.parametrize("server", ["postgres", "redis"])
def test_an_outage_is_a_problem_that_tells_nothing_of_it(servers, client, alice, book, server):
    with away(getattr(servers, server)):
        response = client.get(f"{BOOKS}/{book['id']}", headers=alice.headers)

    assert_unavailable(response)
    assert not any(
        word in response.text for word in ("postgres", "redis", "socket", "SELECT", "psycopg2")
    )


def test_a_redis_that_is_silent_is_503_within_a_second(client, alice, book, silent_redis):
    with within(1):
        response = client.get(f"{BOOKS}/{book['id']}", headers=alice.headers)

    assert_unavailable(response)


def test_a_statement_over_its_time_is_503_and_the_next_succeeds(
    servers, make_impatient_app, alice, book
):
    impatient = make_impatient_app(statement_timeout=100).test_client()

    with locked(servers, "LOCK TABLE books IN ACCESS EXCLUSIVE MODE"):
        response = impatient.get(f"{BOOKS}/{book['id']}", headers=alice.headers)
    again = impatient.get(f"{BOOKS}/{book['id']}", headers=alice.headers)

    assert_unavailable(response)
    assert again.status_code == 200  # its connection still works


@pytest.mark.parametrize(("method", "values"), [("PATCH", MOMO), ("DELETE", None)])
def test_a_wait_for_a_lock_over_its_time_is_503_and_changes_nothing(
    servers, client, make_impatient_app, alice, book, method, values
):
    impatient = make_impatient_app(lock_timeout=100).test_client()
    path = f"{BOOKS}/{book['id']}"

    with locked(servers, "SELECT FROM books FOR UPDATE"):
        response = impatient.open(path, method=method, json=values, headers=alice.headers)

    assert_unavailable(response)
    assert client.get(path, headers=alice.headers).json == book


def test_a_crash_of_postgres_in_mid_request_is_503(app, make_app, servers, alice, book):
    victim = make_app()
    with victim.app_context():

        @event.listens_for(db.engine, "checkout")
        def crash(*_):
            servers.postgres.stop("immediate")

    try:
        response = victim.test_client().patch(
            f"{BOOKS}/{book['id']}", json=MOMO, headers=alice.headers
        )
    finally:
        servers.postgres.start()

    assert_unavailable(response)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/auth/sessions", 200), ("DELETE", f"/auth/sessions/{UUID(int=0)}", 404)],
)
def test_a_crash_of_postgres_before_the_answer_leaves_makes_no_other_answer(
    make_app, servers, alice, book, method, path, status
):
    victim = make_app()

    @victim.after_request
    def crash(response):
        servers.postgres.stop("immediate")
        return response

    try:
        response = victim.test_client().open(PREFIX + path, method=method, headers=alice.headers)
    finally:
        servers.postgres.start()

    assert response.status_code == status


def test_a_write_on_a_standby_is_503(make_impatient_app, alice, book):
    standby = make_impatient_app(default_transaction_read_only="on").test_client()

    response = standby.post(f"{BOOKS}/", json=MOMO, headers=alice.headers)

    assert_unavailable(response)


def test_a_connection_that_postgres_has_closed_is_replaced(app, client, alice, book):
    with app.app_context(), autocommit() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    statuses = {
        client.get(f"{BOOKS}/{book['id']}", headers=alice.headers).status_code for _ in range(3)
    }

    assert statuses == {200}


@pytest.fixture
def used_connection(make_app) -> Iterator[Connection]:
    """The only connection of an application, used before."""
    with make_app(database_pool_size=1).app_context():
        with autocommit() as connection:
            connection.execute(text("SELECT 1"))
        with autocommit() as connection:
            yield connection
        db.engine.dispose()


def test_a_connection_that_postgres_closes_in_use_is_given_back(app, used_connection):
    pid = used_connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with app.app_context(), autocommit() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 1000)"), {"pid": pid})

    used_connection.close()

    assert used_connection.engine.pool.checkedout() == 0


def test_a_read_costs_one_statement(app, used_connection):
    pid = used_connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    used_connection.close()

    last = text("SELECT query FROM pg_stat_activity WHERE pid = :pid")
    with app.app_context(), autocommit() as other:
        assert other.execute(last, {"pid": pid}).scalar_one() == "SELECT pg_backend_pid()"


def test_a_database_that_is_not_migrated_is_a_500_without_sql(make_database, alice):
    unmigrated = make_database().test_client()

    response = unmigrated.get(f"{BOOKS}/", headers=alice.headers)

    assert (response.status_code, response.mimetype) == (500, "application/problem+json")
    assert not any(word in response.text for word in ("SELECT", "books.", "psycopg2", "Traceback"))
