"""What one user may cost the others: searches are bounded, in what each costs and in number."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from books_api.books import unused_words
from books_api.books.lists import list_books
from books_api.books.search import concurrency
from books_api.database import autocommit, transaction
from books_api.extensions import db
from books_api.model_base import new_id
from tests.helpers import BOOKS, execute, ids_of
from tests.statements import LOGGED, statements

INSERT = text(
    "INSERT INTO books (id, title, author, user_uid) VALUES (:id, :title, 'Somebody', :owner)"
)


@pytest.fixture
def run_searches(app):
    """Hold slots of an account, as searches do that are running."""
    with app.app_context(), ExitStack() as stack:

        def run(account, count):
            for _ in range(count):
                connection = stack.enter_context(db.engine.connect())
                take = text(f"SELECT books_take_slot(:owner, {concurrency.AT_ONCE})")
                connection.execute(take, {"owner": account.id})

        yield run


@pytest.mark.parametrize("path", [BOOKS, f"{BOOKS}/user/{{id}}"])
def test_one_search_more_than_may_run_at_once_is_429(client, alice, run_searches, path):
    run_searches(alice, concurrency.AT_ONCE)

    response = client.get(path.format(id=alice.id) + "?q=momo", headers=alice.headers)

    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
    assert response.json["type"] == "/problems/rate-limited"


def test_as_many_searches_as_may_run_at_once_are_answered(client, alice, run_searches):
    run_searches(alice, concurrency.AT_ONCE - 1)

    assert client.get(f"{BOOKS}/?q=momo", headers=alice.headers).status_code == 200


def test_a_search_that_has_ended_gives_its_slot_back(client, alice):
    statuses = {
        client.get(f"{BOOKS}/?q=momo&count=true", headers=alice.headers).status_code
        for _ in range(2 * concurrency.AT_ONCE)
    }

    assert statuses == {200}


@pytest.mark.parametrize("query", ["", "?author=ende", "?q=9780306406157"])
def test_a_list_without_words_needs_no_slot(client, alice, run_searches, query):
    run_searches(alice, concurrency.AT_ONCE)

    assert client.get(f"{BOOKS}/" + query, headers=alice.headers).status_code == 200


def test_the_searches_of_one_user_keep_no_other_from_searching(client, alice, bob, run_searches):
    run_searches(alice, concurrency.AT_ONCE)

    assert client.get(f"{BOOKS}/?q=momo", headers=bob.headers).status_code == 200


# Words


@pytest.fixture
def nonsense(app, bob):
    """Add books of Bob's with 3,000 words that are near to one word, and to each other."""
    letters = [chr(code) for code in range(0x3A0, 0x9000) if chr(code).isalpha()][:3_000]
    words = [f"qwertz{letter}" for letter in letters]
    execute(
        app,
        "INSERT INTO books (id, title, author, user_uid)"
        " SELECT gen_random_uuid(), title, 'Somebody', :owner"
        " FROM unnest(CAST(:titles AS text[])) AS title",
        owner=bob.id,
        titles=[" ".join(words[n : n + 60]) for n in range(0, len(words), 60)],
    )
    execute(app, "ANALYZE")
    return "qwertz"


@pytest.fixture
def pages_read(make_app, settings, servers):
    """How many pages of tables and indexes a search reads."""
    logged = make_app(database_url=f"{settings.database_url}&{LOGGED}")
    folder = Path(str(make_url(settings.database_url).query["host"])).parent

    def pages_read(q, **filters):
        with logged.app_context():
            list_books(limit=20, filters={"q": q, **filters})  # the first reads the catalogs, too
            with statements(folder) as sent:
                list_books(limit=20, filters={"q": q, **filters})
            with autocommit() as connection:
                cursor = connection.connection.cursor()
                return sum(pages_of(cursor, statement) for statement in sent)

    yield pages_read
    with logged.app_context():
        db.engine.dispose()


def pages_of(cursor, statement):
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
    [[[explained]]] = cursor.fetchall()
    return explained["Plan"]["Shared Hit Blocks"] + explained["Plan"]["Shared Read Blocks"]


def test_a_word_that_thousands_are_near_to_costs_no_more_than_another(nonsense, pages_read):
    assert pages_read(f"{nonsense}x y") < 2 * pages_read("absent y") + 100


def test_thousands_of_near_words_in_the_books_of_another_hide_no_typo_in_mine(
    client, alice, nonsense, make_book, pages_read
):
    mine = make_book(alice, title=f"{nonsense}y")

    found = client.get(f"{BOOKS}/?q={nonsense}x&user_uid={alice.id}", headers=alice.headers)

    assert ids_of(found.json) == [mine["id"]]
    absent = pages_read("absentx", user_uid=alice.id)
    assert pages_read(f"{nonsense}x", user_uid=alice.id) < 2 * absent + 100


def test_forty_words_that_no_book_has_cost_little_more_than_eight(app, pages_read):
    words = [f"q{first}{second}z" for first in "wrtpsdfg" for second in "xcvbn"]

    assert pages_read(" ".join(words)) < 3 * pages_read(" ".join(words[:8]))


@pytest.fixture
def learned(app):
    """Return how often a word is among those of the books."""
    return lambda word: execute(
        app, "SELECT count(*) FROM book_words WHERE word = :word", word=word
    )[0][0]


def prune(app):
    result = app.test_cli_runner().invoke(args=["maintenance", "prune"])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_words_that_no_book_has_any_more_are_pruned(client, app, alice, make_book, learned):
    prune(app)
    book = make_book(alice, title="Floccinaucinihil", author="Momo")
    make_book(alice, title="Momo", author="Momo")
    client.delete(f"{BOOKS}/{book['id']}", headers=alice.headers)

    said = prune(app)

    assert (learned("floccinaucinihil"), learned("momo")) == (0, 1)
    assert "and 1 unused words." in said


def test_a_typo_is_forgiven_after_the_words_are_pruned(client, app, alice, make_book):
    make_book(alice, title="Quixotry")

    prune(app)

    assert client.get(f"{BOOKS}/?q=quixtory", headers=alice.headers).json


def test_a_word_that_was_pruned_is_learned_again_with_the_next_book(app, alice, make_book, learned):
    make_book(alice, title="Quixotry")
    execute(app, "DELETE FROM book_words")  # not of owner_words, as when a prune stops early

    make_book(alice, title="Quixotry")

    assert learned("quixotry") == 1


def test_a_word_that_a_transaction_is_bringing_is_kept(app, alice, learned):
    execute(app, "INSERT INTO book_words (word) VALUES ('zwischenzug')")
    with ThreadPoolExecutor(1) as pool, app.app_context():
        with transaction() as connection:
            values = {"id": new_id(), "title": "Zwischenzug", "owner": alice.id}
            connection.execute(INSERT, values)  # finds the word, and adds it not
            pruning = pool.submit(prune, app)
            time.sleep(0.5)
            assert not pruning.done()
        pruning.result(10)

    assert learned("zwischenzug") == 1


def test_pruning_gives_up_when_somebody_writes_without_a_pause(app, alice, learned, monkeypatch):
    monkeypatch.setattr(unused_words, "PATIENCE", 0.0)
    execute(app, "INSERT INTO book_words (word) VALUES ('quixotry')")
    with app.app_context(), transaction() as connection:
        values = {"id": new_id(), "title": "Momo", "owner": alice.id}
        connection.execute(INSERT, values)

        said = prune(app)

    assert said.endswith("and 0 unused words.\n")
