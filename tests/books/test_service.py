"""What an answer costs, and that the fast path to it gives what the schema gives."""

from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from books_api import PREFIX
from books_api.books import lists, service
from books_api.books.models import Book
from books_api.books.schemas import BookSchema
from books_api.database import autocommit
from books_api.extensions import db, redis
from books_api.web.parsing import DUMP_OPTIONS
from tests.helpers import BOOKS, MOMO, next_link
from tests.statements import statements

WITHOUT_GAPS = {
    "title": "三体",
    "author": "刘慈欣",
    "publisher": "重庆出版社",
    "published_date": "2008-01",
    "page_count": 302,
    "language": "zh",
    "isbn": "9787536692930",
}
VALUES = pytest.mark.parametrize("values", [WITHOUT_GAPS, MOMO], ids=["without_gaps", "with_gaps"])


@pytest.fixture
def client(logged_client):
    return logged_client


@pytest.fixture
def warm(client, alice, make_book):
    """A book, read once: the connections are made, Redis is filled, the token is verified."""
    book = make_book(alice)
    client.get(f"{BOOKS}/{book['id']}", headers=alice.headers)
    return book


COSTS = pytest.mark.parametrize(
    ("method", "path", "values"),
    [
        ("GET", "/{book}", None),
        ("GET", "/", None),
        ("GET", "/?limit=1", None),
        ("GET", "/user/{user}", None),
        ("POST", "/", WITHOUT_GAPS),
        ("PATCH", "/{book}", WITHOUT_GAPS),
        ("DELETE", "/{book}", None),
    ],
)


@COSTS
def test_a_request_costs_one_statement(folder, client, alice, warm, method, path, values):
    path = BOOKS + path.format(book=warm["id"], user=alice.id)

    with statements(folder) as sent:
        client.open(path, method=method, json=values, headers=alice.headers)

    assert len(sent) == 1, sent


@COSTS
def test_a_request_costs_one_round_trip_to_redis(app, client, alice, warm, method, path, values):
    path = BOOKS + path.format(book=warm["id"], user=alice.id)
    with app.app_context():
        redis.client.config_resetstat()

    client.open(path, method=method, json=values, headers=alice.headers)

    with app.app_context():
        stats = redis.client.info("commandstats")
    stats.pop("cmdstat_config|resetstat", None)
    stats.pop("cmdstat_config", None)
    assert {name: stat["calls"] for name, stat in stats.items()} == {"cmdstat_mget": 1}


def test_the_next_page_costs_one_statement(folder, client, alice, make_book, warm):
    make_book(alice)
    first = client.get(f"{BOOKS}/?limit=1", headers=alice.headers)

    with statements(folder) as sent:
        client.get(next_link(first), headers=alice.headers)

    assert len(sent) == 1, sent


def test_a_304_costs_one_statement(folder, client, alice, warm):
    headers = {**alice.headers, "If-None-Match": '"1"'}

    with statements(folder) as sent:
        client.get(f"{BOOKS}/{warm['id']}", headers=headers)

    assert len(sent) == 1, sent


def test_a_refused_body_costs_no_statement(folder, client, alice, warm):
    with statements(folder) as sent:
        client.post(f"{BOOKS}/", json={}, headers=alice.headers)

    assert sent == []


@pytest.mark.parametrize(
    "path",
    [
        *("/books/{book}", "/books/", "/books/user/{user}", "/books/user/{idle}"),
        *("/books/user/{idle}?count=true", "/auth/me", "/auth/sessions"),
    ],
)
def test_a_read_needs_one_connection_at_a_time(make_app, alice, bob, make_book, path):
    app = make_app(database_pool_size=1)
    path = PREFIX + path.format(book=make_book(alice)["id"], user=alice.id, idle=bob.id)

    response = app.test_client().get(path, headers=alice.headers)

    with app.app_context():
        db.engine.dispose()
    assert response.status_code == 200


@VALUES
def test_a_created_row_gives_what_the_schema_dumps(app, alice, make_book, values):
    row = read(app, make_book(alice, **values)["id"])

    assert as_json(row) == dumped(app, row["id"])


@VALUES
def test_a_changed_row_gives_what_the_schema_dumps(app, client, alice, warm, values):
    client.patch(f"{BOOKS}/{warm['id']}", json=values, headers=alice.headers)

    row = read(app, warm["id"])

    assert as_json(row) == dumped(app, row["id"])


@VALUES
def test_listed_rows_give_what_the_schema_dumps(app, alice, make_book, values):
    for _ in range(2):
        make_book(alice, **values)

    with app.app_context():
        rows = lists.list_books(limit=2).rows

    assert rows == [dumped(app, row["id"]) for row in rows]


@pytest.mark.parametrize(
    "moment",
    ["2020-01-01T00:00:00Z", "2020-06-01T12:00:00.5+02:00", "0001-01-01T00:00:00Z"],
)
def test_a_moment_is_written_as_the_schema_writes_it(app, warm, moment):
    with app.app_context(), autocommit() as connection:
        connection.execute(text("UPDATE books SET created_at = :moment"), {"moment": moment})
    row = read(app, warm["id"])

    assert as_json(row)["created_at"] == dumped(app, row["id"])["created_at"]


def test_moments_are_in_utc_whatever_the_zone_of_postgres(make_app, settings, alice, warm):
    zone = "&options=-c%20timezone%3DEurope/Berlin"
    app = make_app(database_url=settings.database_url + zone)

    response = app.test_client().get(f"{BOOKS}/{warm['id']}", headers=alice.headers)

    with app.app_context():
        db.engine.dispose()
    assert response.json["created_at"] == warm["created_at"]


def read(app, book_id):
    with app.app_context():
        return service.get_book(book_id)


def as_json(row):
    return orjson.loads(orjson.dumps(row, option=DUMP_OPTIONS))


def dumped(app, book_id):
    with app.app_context():
        return BookSchema().dump(db.session.get_one(Book, UUID(book_id)))
