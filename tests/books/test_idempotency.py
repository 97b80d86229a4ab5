"""Idempotency-Key: a book that is sent again is added once."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
import requests
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from books_api.auth import idempotency
from books_api.database import autocommit
from books_api.extensions import db
from tests.helpers import BOOKS, MOMO, locked, together
from tests.processes import TIMEOUT, running_gunicorn

KEY = "9f1c3f5e-1f4b-4d6e-8a53-4b1d8f0c2a77"


@pytest.fixture
def send(client, alice):
    def send(values=MOMO, key=KEY, account=alice, path=BOOKS):
        headers = {**account.headers, "Idempotency-Key": key}
        return client.post(path, json=values, headers=headers)

    return send


@pytest.fixture
def count(app):
    def count():
        with app.app_context(), autocommit() as connection:
            return connection.execute(text("SELECT count(*) FROM books")).scalar()

    return count


@pytest.fixture
def kept(app):
    """The keys that are stored."""

    def kept():
        with app.app_context(), autocommit() as connection:
            return connection.execute(text("SELECT key FROM idempotency_keys")).scalars().all()

    return kept


@pytest.fixture(scope="module")
def gunicorn(migrated_app, settings, folder):
    """Two workers, which are mortal."""
    with running_gunicorn(folder, settings, target="tests.books.mortal:app") as gunicorn:
        yield gunicorn


@pytest.fixture
def post(alice, gunicorn):
    """Send a request with the key to gunicorn."""

    def post(**headers):
        headers = {**alice.headers, "Idempotency-Key": KEY, **headers}
        return requests.post(gunicorn.url + BOOKS, json=MOMO, headers=headers, timeout=TIMEOUT)

    return post


def age_keys(app, interval):
    """Let so much time pass for every key."""
    with app.app_context(), autocommit() as connection:
        connection.execute(
            text("UPDATE idempotency_keys SET created_at = created_at - CAST(:age AS interval)"),
            {"age": interval},
        )


def test_a_request_sent_again_has_the_first_answer_which_says_so_and_adds_no_book(send, count):
    first = send()

    again, third = send(), send()

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == third.data == first.data
    assert "Idempotent-Replayed" not in first.headers
    for name in ("ETag", "Location", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert count() == 1


@pytest.mark.parametrize(
    "values",
    [
        dict(reversed(MOMO.items())),
        {**MOMO, "title": " Momo "},
    ],
    ids=["order", "spaces"],
)
def test_a_request_that_says_the_same_is_the_same(send, values):
    first = send()

    assert send(values).json == first.json


@pytest.mark.parametrize("first", [KEY, f'"{KEY}"'])
def test_quotes_are_no_part_of_the_key(send, count, first):
    send(key=first)

    send(key=KEY)

    assert count() == 1


@pytest.mark.parametrize(
    "values", [{**MOMO, "page_count": 304}, {"title": "Jim", "author": "Ende"}]
)
def test_a_key_with_another_body_is_422(send, count, values):
    send()

    response = send(values)

    assert (response.status_code, count()) == (422, 1)


def test_a_key_belongs_to_its_user(send, bob):
    first = send()

    response = send(account=bob)

    assert (response.status_code, response.json["user_uid"]) == (201, bob.id)
    assert response.json["id"] != first.json["id"]


def test_another_key_is_another_book(send, count):
    send()

    send(key="another")

    assert count() == 2


def test_the_answer_is_given_again_when_the_book_has_changed_since(client, alice, send):
    first = send()
    client.patch(first.headers["Location"], json={"title": "Jim"}, headers=alice.headers)

    assert send().json == first.json


def test_the_answer_is_given_again_when_the_book_is_deleted(client, alice, send, count):
    first = send()
    client.delete(first.headers["Location"], headers=alice.headers)

    response = send()

    assert (response.status_code, response.json, count()) == (201, first.json, 0)


@pytest.mark.parametrize(("age", "books"), [("23 hours 59 minutes", 1), ("24 hours 1 minute", 2)])
def test_a_key_is_kept_for_24_hours(app, send, count, age, books):
    send()
    age_keys(app, age)

    send()

    assert count() == books


def test_a_key_is_kept_again_after_24_hours(app, send, count):
    send()
    age_keys(app, "25 hours")
    second = send()

    assert (send().json, count()) == (second.json, 2)


def test_old_keys_are_pruned_and_counted(app, send, kept):
    send()
    age_keys(app, "25 hours")
    send(key="young")

    result = app.test_cli_runner().invoke(args=["maintenance", "prune"])

    assert kept() == ["young"]
    assert "1 idempotency key" in result.output


def test_old_keys_do_not_slow_a_write(app, alice):
    look_up = idempotency._FIRST.params(user_id=UUID(alice.id), key="new").compile(
        dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
    )
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO idempotency_keys (user_id, key, fingerprint, status, headers, body,"
                " created_at) SELECT :user_id, n, '', 201, '{}', '', now() - interval '2 days'"
                " FROM generate_series(1, 5000) AS n"
            ),
            {"user_id": alice.id},
        )
        connection.execute(text("ANALYZE idempotency_keys"))
        plan = connection.exec_driver_sql(f"EXPLAIN {look_up}").scalars().all()

    assert plan[0].startswith("Index Scan using pk_idempotency_keys")


def test_of_simultaneous_requests_with_a_key_one_adds_a_book(app, alice, count):
    headers = {**alice.headers, "Idempotency-Key": KEY}

    def post():
        return app.test_client().post(BOOKS, json=MOMO, headers=headers).status_code

    statuses = set(together(*[post] * 16))

    assert count() == 1
    assert statuses <= {201, 409}


def test_a_request_while_the_first_is_running_is_409(app, servers, alice, send):
    headers = {**alice.headers, "Idempotency-Key": KEY}

    lock = "LOCK TABLE books IN EXCLUSIVE MODE"
    with ThreadPoolExecutor(1) as pool, locked(servers, lock) as held:
        first = pool.submit(app.test_client().post, BOOKS, json=MOMO, headers=headers)
        held.wait_for(1)
        second = send()
        held.release()

    assert (second.status_code, second.mimetype) == (409, "application/problem+json")
    assert first.result().status_code == 201


@pytest.mark.parametrize(
    "key", ["x", "x" * 255, f'"{"x" * 255}"', "a b", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"]
)
def test_a_key_of_any_printable_text_is_taken(send, key):
    send(key=key)

    assert send(key=key).headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", '""', "x" * 256, f'"{"x" * 256}"', "\0", "a\tb", "\x7f", "é"])
def test_a_key_that_is_none_is_422(client, alice, count, key):
    headers = {**alice.headers, "Idempotency-Key": ""}

    response = client.post(
        BOOKS, json=MOMO, headers=headers, environ_overrides={"HTTP_IDEMPOTENCY_KEY": key}
    )

    assert (response.status_code, count()) == (422, 0)


@pytest.mark.parametrize(
    ("values", "authorization", "status"),
    [
        ({"title": ""}, None, 422),
        ({**MOMO, "color": "red"}, None, 422),
        (MOMO, "Bearer x.y.z", 401),
    ],
    ids=["wrong", "unknown", "stranger"],
)
def test_a_request_that_failed_keeps_nothing(client, alice, kept, values, authorization, status):
    headers = {**alice.headers, "Idempotency-Key": KEY}
    headers["Authorization"] = authorization or headers["Authorization"]

    response = client.post(BOOKS, json=values, headers=headers)

    assert (response.status_code, kept()) == (status, [])


def test_the_keys_of_a_deleted_account_are_gone(app, alice, send, kept):
    send()

    with app.app_context(), autocommit() as connection:
        connection.execute(text("DELETE FROM users WHERE id = :id"), {"id": alice.id})

    assert kept() == []


def test_a_request_that_broke_off_before_the_commit_is_done_when_sent_again(
    app, alice, send, count, kept
):
    with app.app_context(), autocommit() as connection:
        connection.execute(text("ALTER TABLE books ADD CONSTRAINT no CHECK (title <> 'Momo')"))
    try:
        broken = send()
    finally:
        with app.app_context(), autocommit() as connection:
            connection.execute(text("ALTER TABLE books DROP CONSTRAINT no"))

    assert (broken.status_code >= 400, kept()) == (True, [])
    assert (send().status_code, count()) == (201, 1)


def test_two_workers_add_one_book_of_many_requests_at_once(post, count):
    """Until both have answered: which of them takes a request is up to the kernel."""
    answers = []

    with ThreadPoolExecutor(16) as pool:
        while len({answer.headers["X-Worker"] for answer in answers}) < 2:
            answers += pool.map(lambda _: post(), range(16))

    assert count() == 1
    first = [a for a in answers if a.status_code == 201 and "Idempotent-Replayed" not in a.headers]
    assert len(first) == 1
    for answer in answers:
        assert answer.status_code == 201 or (
            answer.status_code == 409 and answer.headers["Retry-After"].isdigit()
        )
    assert {answer.text for answer in answers if answer.status_code == 201} == {first[0].text}


def test_an_answer_that_died_with_its_worker_is_given_again(post, count):
    with pytest.raises(requests.ConnectionError):
        post(**{"X-Die": "yes"})
    lost = count()

    answer = post()

    assert (lost, count()) == (1, 1)
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (201, "true")
