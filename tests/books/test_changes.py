"""Changes: a reader that follows the cursors ends with exactly what the database has."""

import os
import random
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from flask_migrate import upgrade

from books_api import create_app
from books_api.config import database_url
from books_api.extensions import db
from books_api.web.fields import format_timestamp
from books_api.web.pagination import decode_cursor, encode_cursor
from development.embedded import Postgres, Redis
from tests.conftest import Account
from tests.helpers import BOOKS, MOMO, delete_account, execute, ids_of, log_in, sign_up

CHANGES = f"{BOOKS}/changes"


class Reader:
    """A copy that is kept by GET /books/changes."""

    def __init__(self, app, account, **query):
        self.client, self.account, self.query = app.test_client(), account, query
        self.books, self.cursor, self.requests = {}, None, 0

    def ask(self):
        query = self.query | ({"cursor": self.cursor} if self.cursor else {})
        response = self.client.get(CHANGES, query_string=query, headers=self.account.headers)
        self.requests += 1
        return response

    def read(self):
        """Ask once; return whether there may be more."""
        response = self.ask()
        if response.status_code == 503:
            return True
        assert response.status_code == 200, response.text
        answer = response.json
        self.books |= {book["id"]: book for book in answer["books"]}
        for book in answer["deleted"]:
            self.books.pop(book["id"], None)
        self.cursor = answer["cursor"]
        return answer["more"]

    def read_all(self):
        while self.read():
            pass
        return {book["id"]: book["version"] for book in self.books.values()}


@pytest.fixture
def reader(app, alice):
    return Reader(app, alice)


@pytest.fixture
def connect(servers):
    """Open a transaction beside the application."""
    connections = []

    def connect():
        connections.append(psycopg2.connect(servers.postgres.url))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


def add(connection, account, title="x"):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO books (id, title, author, user_uid)"
            " VALUES (gen_random_uuid(), %s, 'x', %s) RETURNING id::text",
            (title, account.id),
        )
        return cursor.fetchone()[0]


def versions(app, owner="%"):
    """What the database has: the version of each book."""
    return dict(
        tuple(row)
        for row in execute(
            app, "SELECT id::text, version FROM books WHERE user_uid::text LIKE :owner", owner=owner
        )
    )


def test_a_copy_begins_with_all_books(client, alice, bob, make_book, app):
    books = [make_book(alice), make_book(bob), make_book(alice)]
    reader = Reader(app, alice, limit=2)
    reader.read_all()

    assert [*reader.books.values()] == books


def test_a_copy_goes_on_with_what_has_changed_and_no_more(client, alice, make_book, reader):
    kept, changed, gone = (make_book(alice, title=title) for title in "abc")
    reader.read_all()
    client.patch(f"{BOOKS}/{changed['id']}", json=MOMO, headers=alice.headers)
    client.delete(f"{BOOKS}/{gone['id']}", headers=alice.headers)
    new = make_book(alice)

    answer = reader.ask().json

    assert ids_of(answer["books"]) == [changed["id"], new["id"]]
    assert ids_of(answer["deleted"]) == [gone["id"]]
    assert answer["more"] is False
    assert kept["id"] not in str(answer)


def test_a_reader_that_is_up_to_date_gets_nothing(make_book, alice, reader):
    make_book(alice)
    reader.read_all()

    answer = reader.ask().json

    assert (answer["books"], answer["deleted"], answer["more"]) == ([], [], False)


def test_a_change_of_nothing_is_no_change(client, alice, make_book, reader):
    path = f"{BOOKS}/{make_book(alice)['id']}"
    reader.read_all()
    client.patch(path, json={}, headers=alice.headers)
    client.patch(path, json=MOMO, headers={**alice.headers, "If-Match": '"7"'})

    assert reader.ask().json["books"] == []


def test_the_books_of_one_owner_can_be_followed(app, client, alice, bob, make_book):
    mine, _ = make_book(bob), make_book(alice)
    reader = Reader(app, alice, user_uid=bob.id)
    reader.read_all()
    make_book(alice)
    new = make_book(bob)

    assert list(reader.read_all()) == [mine["id"], new["id"]]


def test_a_cursor_is_of_one_owner(app, alice, bob, reader):
    reader.read_all()
    other = Reader(app, alice, user_uid=bob.id)
    other.cursor = reader.cursor

    response = other.ask()

    assert (response.status_code, response.json["errors"][0]["code"]) == (422, "not-a-cursor")


@pytest.mark.parametrize(
    ("query", "status"), [("limit=1000", 200), ("limit=1001", 422), ("limit=0", 422)]
)
def test_an_answer_has_up_to_1000_changes(client, alice, query, status):
    assert client.get(f"{CHANGES}?{query}", headers=alice.headers).status_code == status


def test_a_transaction_larger_than_a_page_is_read_in_pages(app, alice, reader, connect):
    reader.read_all()
    reader.query, connection = {"limit": 7}, connect()
    ids = {add(connection, alice) for _ in range(30)}
    connection.commit()

    assert reader.read_all().keys() == ids
    assert reader.requests == 2 + 5


def test_what_commits_late_is_not_skipped(client, alice, make_book, reader, connect):
    """Its transaction began before the one whose book is there first."""
    reader.read_all()
    slow = connect()
    late = add(slow, alice)
    early = make_book(alice)["id"]
    reader.read_all()
    slow.commit()

    assert reader.read_all().keys() == {early, late}


def test_what_runs_while_a_copy_begins_is_not_skipped(app, client, alice, make_book, connect):
    slow, reader = connect(), Reader(app, alice, limit=1)
    with slow.cursor() as cursor:
        cursor.execute("SELECT now()")  # created_at of its book is before those of the others
    late = add(slow, alice)
    for _ in range(3):
        make_book(alice)
    reader.read()
    reader.read()
    slow.commit()

    assert reader.read_all().keys() == versions(app).keys() >= {late}


def test_a_transaction_that_is_undone_leaves_nothing(alice, reader, connect):
    reader.read_all()
    slow = connect()
    add(slow, alice)
    slow.rollback()

    assert reader.read_all() == {}


def test_what_a_transaction_adds_and_deletes_is_deleted(alice, reader, connect):
    connection = connect()
    book_id = add(connection, alice)
    connection.commit()
    reader.read_all()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE books SET title = 'y'; DELETE FROM books")
    connection.commit()

    assert ids_of(reader.ask().json["deleted"]) == [book_id]


def test_the_books_of_a_deleted_account_are_deleted(client, alice, bob, make_book, reader):
    ids = {make_book(bob)["id"] for _ in range(3)}
    reader.read_all()
    delete_account(client, bob)

    assert set(ids_of(reader.ask().json["deleted"])) == ids


# A cursor that does not know what it has missed.


def assert_gone(response):
    assert (response.status_code, response.json["type"]) == (410, "/problems/cursor-expired")


def age(app, interval):
    execute(
        app,
        "UPDATE book_changes SET changed_at = changed_at - CAST(:age AS interval)",
        age=interval,
    )


@pytest.fixture
def alter(app, reader):
    """Give the reader a cursor of which a part is another."""

    def alter(**parts):
        with app.app_context():
            values = decode_cursor(reader.cursor, "changes None")
            named = dict(zip(("read_at", "cluster", "place", "walk", "seen"), values, strict=True))
            reader.cursor = encode_cursor([*(named | parts).values()], "changes None")

    return alter


@pytest.mark.parametrize(("days", "status"), [(89, 200), (91, 410)])
def test_a_cursor_is_good_for_90_days(make_book, alice, reader, alter, days, status):
    make_book(alice)
    reader.read_all()
    alter(read_at=format_timestamp(datetime.now(UTC) - timedelta(days)))

    assert reader.ask().status_code == status


def test_a_cursor_from_before_a_restore_is_410(app, make_book, alice, reader):
    make_book(alice)
    reader.read_all()
    execute(app, "DELETE FROM book_changes")  # a dump from before is restored

    assert_gone(reader.ask())


def test_a_cursor_of_a_standby_that_was_behind_is_410(app, make_book, alice, reader):
    """The transaction is lost, and another one has its id, and has changed the same book."""
    make_book(alice)
    reader.read_all()
    age(app, "1 second")

    assert_gone(reader.ask())


def test_a_cursor_of_a_standby_that_was_behind_is_410_in_the_first_walk(
    app, make_book, alice, reader
):
    """A book that was added after the walk began, and shown, is lost."""
    reader.query = {"limit": 1}
    make_book(alice)
    make_book(alice)
    reader.read()
    lost = make_book(alice)
    reader.read()
    reader.read()
    execute(app, "DELETE FROM book_changes WHERE book_id = :id", id=lost["id"])

    assert reader.books.keys() >= {lost["id"]}
    assert_gone(reader.ask())


def test_a_cursor_of_a_standby_that_lost_a_later_change_of_a_book_is_410(
    app, client, make_book, alice, reader
):
    """The page shows the book as it was last, and its place is an earlier change of it."""
    reader.read_all()
    reader.query = {"limit": 1}
    book = make_book(alice)
    make_book(alice)
    client.patch(f"{BOOKS}/{book['id']}", json={"title": "lost"}, headers=alice.headers)
    reader.read()
    last = "SELECT max(changed_in) FROM book_changes"
    execute(app, f"DELETE FROM book_changes WHERE changed_in = ({last})")

    assert reader.books[book["id"]]["title"] == "lost"
    assert_gone(reader.ask())


def test_a_cursor_of_another_cluster_is_410(make_book, alice, reader, alter):
    make_book(alice)
    reader.read_all()
    alter(cluster="1")

    assert_gone(reader.ask())


def prune(app):
    return app.test_cli_runner().invoke(args=["maintenance", "prune"])


def test_old_changes_are_pruned_and_counted(app, alice, make_book):
    make_book(alice)
    age(app, "92 days")
    make_book(alice)

    result = prune(app)

    assert "1 changes of books" in result.output
    assert len(execute(app, "SELECT FROM book_changes")) == 1


def test_a_reader_that_is_up_to_date_outlives_its_place(app, alice, make_book, reader, alter):
    """Nothing has changed for longer than changes are kept."""
    make_book(alice)
    age(app, "92 days")
    reader.read_all()
    prune(app)
    new = make_book(alice)

    assert ids_of(reader.ask().json["books"]) == [new["id"]]


def test_a_reader_that_stops_on_the_way_does_not_outlive_what_it_has_not_read(
    app, alice, make_book, reader
):
    reader.read_all()
    reader.query = {"limit": 1}
    for _ in range(3):
        make_book(alice)
    age(app, "92 days")
    assert reader.read() is True

    assert_gone(reader.ask())


# Many writers.


class Writers:
    """Threads that write as clients, importers and long transactions do, until they are stopped."""

    def __init__(self, app, url, accounts, leaver):
        self.app, self.url, self.accounts, self.leaver = app, url, accounts, leaver
        self.stopped, self.mine = threading.Event(), {}
        tasks = [self.client] * 3 + [self.transactions] * 2 + [self.imports, self.leave]
        self.threads = [threading.Thread(target=self.run, args=(task,)) for task in tasks]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def run(self, task):
        dice = random.Random(threading.get_ident())
        while not self.stopped.is_set():
            try:
                task(dice)
            except psycopg2.Error:  # Postgres is killed
                self.stopped.wait(0.05)

    def client(self, dice):
        client, account = self.app.test_client(), dice.choice(self.accounts)
        mine = self.mine.setdefault(account.id, [])
        if len(mine) < 5 or dice.random() < 0.3:
            response = client.post(BOOKS, json=MOMO, headers=account.headers)
            if response.status_code == 201:
                mine.append(response.json["id"])
        elif dice.random() < 0.7:
            path = f"{BOOKS}/{dice.choice(mine)}"
            client.patch(path, json={"page_count": dice.randint(1, 99)}, headers=account.headers)
        else:
            book_id = mine.pop(dice.randrange(len(mine)))
            client.delete(f"{BOOKS}/{book_id}", headers=account.headers)

    def transactions(self, dice):
        connection = psycopg2.connect(self.url)
        try:
            for _ in range(dice.randint(1, 4)):
                add(connection, dice.choice(self.accounts), title="slow")
                self.stopped.wait(dice.random() / 10)
            (connection.commit if dice.random() < 0.7 else connection.rollback)()
        finally:
            connection.close()

    def imports(self, dice):
        rows = "".join(f"{dice.random()},x\n" for _ in range(dice.randint(1, 200)))
        self.app.test_client().post(
            f"{BOOKS}/import",
            data=f"title,author\n{rows}",
            content_type="text/csv",
            headers=dice.choice(self.accounts).headers,
        )
        self.stopped.wait(0.1)

    def leave(self, _):
        self.stopped.wait(0.7)
        delete_account(self.app.test_client(), self.leaver)


def assert_readers_end_with_what_is_there(app, url, accounts, seconds, disturb=lambda: None):
    owner, leaver = accounts[1:3]
    readers = [Reader(app, owner, limit=100), Reader(app, owner, limit=3, user_uid=owner.id)]
    with Writers(app, url, accounts, leaver):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for reader in readers:
                reader.read()
            disturb()
    copies = [reader.read_all() for reader in readers]

    there = versions(app)
    assert len(there) > 20
    assert copies == [there, versions(app, owner.id)]


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
def test_readers_end_with_what_is_there_whoever_writes(app, servers, make_user, seconds):
    accounts = [make_user() for _ in range(4)]

    assert_readers_end_with_what_is_there(app, servers.postgres.url, accounts, seconds)


@pytest.mark.long  # two durable servers of its own, killed ten times
def test_readers_end_with_what_is_there_though_postgres_is_killed(settings, tmp_path):
    postgres, redis = Postgres(tmp_path), Redis(tmp_path)
    postgres.start()
    redis.start()
    urls = {"database_url": database_url(postgres.url), "redis_url": redis.url}
    app = create_app(replace(settings, **urls))
    kills = iter(range(10))

    def disturb():
        if next(kills, None) is not None:
            postmaster = next(tmp_path.glob("**/postmaster.pid")).read_text().partition("\n")[0]
            os.kill(int(postmaster), signal.SIGKILL)
            postgres.start()

    try:
        with app.app_context():
            upgrade()
        accounts = [sign_up_and_log_in(app.test_client(), f"user{n}") for n in range(4)]
        assert_readers_end_with_what_is_there(app, postgres.url, accounts, 20, disturb)
    finally:
        with app.app_context():
            db.engine.dispose()
        postgres.stop("immediate")
        redis.kill()


def sign_up_and_log_in(client, name):
    email = f"{name}@example.com"
    user = sign_up(client, username=name, email=email).json
    tokens = log_in(client, email).json
    return Account(user["id"], email, name, tokens["access_token"], tokens["refresh_token"])
