"""The lists of books: what is in them, and that a walk through them misses nothing."""

import re
import unicodedata
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, update

from books_api.auth.models import User
from books_api.books.models import Book
from books_api.extensions import db
from books_api.model_base import new_id
from tests.helpers import AUTH, BOOKS, EXAMPLES, exceptions, ids_of, next_link, walk

SORTS = ["created_at", "updated_at", "title", "author", "published_date", "page_count"]
BOTH_WAYS = [sign + name for name in SORTS for sign in ("", "-")]
MORNING = datetime(2024, 5, 1, 8, tzinfo=UTC)
# Ties, gaps, the ends of what is possible, and texts that differ by what sorts ignore.
VALUES = {
    "title": ["Emma", "Émile", "emma!", "«Zoë»", "Ørsted", "三体", "Яма", "!!!", "1984", "Straße"],
    "author": ["J. Austen", "j austen", "Łem", "Ende, Michael", "刘慈欣", "Ångström"],
    "publisher": [None, "Gallimard"],
    "published_date": [None, None, "0001", "1937", "1937-01", "1937-09-21", "9999-12-31"],
    "page_count": [None, None, 1, 302, 302, 100_000],
    "created_at": [MORNING, MORNING + timedelta(microseconds=1), MORNING + timedelta(days=1)],
    "updated_at": [MORNING, MORNING + timedelta(microseconds=1)],
}
PARAMETERS = [
    *("limit", "cursor", "sort", "count", "q", "author", "publisher", "language", "isbn"),
    *("user_uid", "published_from", "published_to", "updated_from", "updated_to"),
]
PROPERTY = settings(EXAMPLES, max_examples=25)


def walk_ids(*args, **kwargs):
    return ids_of(walk(*args, **kwargs))


def fold(text):
    """Lower case without accents and punctuation, worked out apart from Postgres."""
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c)
    )
    plain = plain.translate({ord("ø"): "o", ord("ł"): "l", ord("ß"): "ss"})
    return " ".join(re.findall(r"[^\W_]+", plain))


def sort_key(name, row, *, descending):
    """What a book is sorted by, its id at the end; a book without the value is last."""
    value = row[name]
    if value is None:
        return (-1 if descending else 1, "", str(row["id"]))
    if name in ("title", "author"):
        value = fold(value)
    if name == "published_date":
        value = (value + "-01-01")[:10]
    return (0, value, str(row["id"]))


@pytest.fixture
def add_rows(app):
    """Add rows to a table, as somebody else would."""

    def add_rows(model, rows):
        rows = [{"id": new_id(), **row} for row in rows]
        if rows:
            with app.app_context():
                db.session.execute(insert(model), rows)
                db.session.commit()
        return rows

    return add_rows


@pytest.fixture
def delete_rows(app):
    def delete_rows(model, *conditions):
        with app.app_context():
            db.session.execute(delete(model).where(*conditions))
            db.session.commit()

    return delete_rows


@pytest.fixture
def shelf(alice, add_rows):
    """70 books of Alice; each value stands beside each other one."""
    return add_rows(
        Book,
        [
            {
                "user_uid": uuid.UUID(alice.id),
                **{
                    name: values[(number * (place + 1) + number // 7) % len(values)]
                    for place, (name, values) in enumerate(VALUES.items())
                },
            }
            for number in range(70)
        ],
    )


def test_an_empty_catalogue_is_an_empty_array(client, alice):
    response = client.get(BOOKS, headers=alice.headers)

    assert (response.status_code, response.json) == (200, [])


def test_the_newest_book_is_first(client, alice, make_book):
    books = [make_book(alice) for _ in range(3)]

    response = client.get(BOOKS, headers=alice.headers)

    assert response.json == books[::-1]


def test_the_list_has_everybodys_books(client, alice, bob, make_book):
    books = [make_book(alice), make_book(bob)]

    response = client.get(BOOKS, headers=alice.headers)

    assert ids_of(response.json) == ids_of(books)[::-1]


def test_the_books_of_a_user_are_that_users_only(client, alice, bob, make_book):
    books = [make_book(alice), make_book(alice)]
    make_book(bob)

    response = client.get(f"{BOOKS}/user/{alice.id}", headers=bob.headers)

    assert response.json == books[::-1]


def test_a_user_without_books_has_an_empty_list(client, alice, bob):
    response = client.get(f"{BOOKS}/user/{alice.id}", headers=bob.headers)

    assert (response.status_code, response.json) == (200, [])


def test_a_page_has_20_books_unless_told(client, alice, make_book):
    for _ in range(21):
        make_book(alice)

    response = client.get(BOOKS, headers=alice.headers)

    assert len(response.json) == 20


@pytest.mark.parametrize("path", ["", "user/{}"])
def test_a_full_last_page_has_no_link(client, alice, make_book, path):
    for _ in range(3):
        make_book(alice)

    response = client.get(f"{BOOKS}/" + path.format(alice.id) + "?limit=3", headers=alice.headers)

    assert "Link" not in response.headers


@pytest.mark.parametrize("path", ["", "user/{}"])
def test_a_walk_shows_every_book_once_in_order(client, alice, make_book, path):
    newest_first = ids_of([make_book(alice) for _ in range(7)])[::-1]
    url = f"{BOOKS}/{path.format(alice.id)}"

    for limit in (1, 2, 3, 6, 7):
        assert walk_ids(client, alice, f"{url}?limit={limit}") == newest_first


def test_a_walk_without_the_slash_stays_without_it(client, alice, make_book):
    for _ in range(2):
        make_book(alice)

    response = client.get(f"{BOOKS}?limit=1", headers=alice.headers)

    assert next_link(response).startswith(f"http://localhost{BOOKS}?")


def test_a_walk_keeps_its_limit(client, alice, make_book):
    for _ in range(5):
        make_book(alice)
    first = client.get(f"{BOOKS}/?limit=2", headers=alice.headers)

    response = client.get(next_link(first), headers=alice.headers)

    assert len(response.json) == 2


def test_a_walk_through_books_of_one_moment_shows_each_once(app, client, alice, make_book):
    books = [make_book(alice) for _ in range(9)]
    with app.app_context():
        db.session.execute(update(Book).values(created_at=func.now()))
        db.session.commit()

    ids = walk_ids(client, alice, f"{BOOKS}/?limit=2")

    assert sorted(ids) == sorted(ids_of(books))


def test_a_walk_is_not_disturbed_by_books_that_are_added(client, alice, make_book):
    books = [make_book(alice) for _ in range(9)]

    ids = walk_ids(client, alice, f"{BOOKS}/?limit=2", after_page=lambda number: make_book(alice))

    assert ids == ids_of(books)[::-1]


def test_a_walk_is_not_disturbed_by_deletion_of_what_it_has_shown(client, alice, make_book):
    newest_first = [make_book(alice)["id"] for _ in range(9)][::-1]

    def delete_shown(number):  # the last shown, too, at which the cursor points
        for book_id in newest_first[2 * number : 2 * number + 2]:
            client.delete(f"{BOOKS}/{book_id}", headers=alice.headers)

    ids = walk_ids(client, alice, f"{BOOKS}/?limit=2", after_page=delete_shown)

    assert ids == newest_first


def test_a_walk_shows_what_remains_when_books_ahead_are_deleted(client, alice, make_book):
    newest_first = [make_book(alice)["id"] for _ in range(9)][::-1]
    deleted = newest_first[3:5]

    def delete_ahead(number):
        if number == 0:
            for book_id in deleted:
                client.delete(f"{BOOKS}/{book_id}", headers=alice.headers)

    ids = walk_ids(client, alice, f"{BOOKS}/?limit=2", after_page=delete_ahead)

    assert ids == [book_id for book_id in newest_first if book_id not in deleted]


def test_a_walk_is_not_disturbed_by_changes(client, alice, make_book):
    newest_first = [make_book(alice)["id"] for _ in range(5)][::-1]

    def change(number):
        for book_id in newest_first:
            client.patch(f"{BOOKS}/{book_id}", json={"page_count": 1}, headers=alice.headers)

    ids = walk_ids(client, alice, f"{BOOKS}/?limit=2", after_page=change)

    assert ids == newest_first


@pytest.mark.parametrize("path", [BOOKS, f"{BOOKS}/user/{{alice}}", f"{AUTH}/users"])
def test_a_cursor_of_another_list_is_refused(client, alice, bob, admin, make_book, path):
    for _ in range(2):
        make_book(bob)
    first = client.get(f"{BOOKS}/user/{bob.id}?limit=1", headers=admin.headers)
    query = next_link(first).partition("?")[2]

    response = client.get(f"{path.format(alice=alice.id)}?{query}", headers=admin.headers)

    assert (response.status_code, response.json["errors"][0]["parameter"]) == (422, "cursor")


def test_a_cursor_is_good_for_another_reader(client, alice, bob, make_book):
    books = [make_book(alice) for _ in range(2)]
    first = client.get(f"{BOOKS}/?limit=1", headers=alice.headers)

    response = client.get(next_link(first), headers=bob.headers)

    assert response.json == books[:1]


def test_a_walk_has_the_order_of_its_sort(client, alice, shelf):
    for sort in BOTH_WAYS:
        name, descending = sort.removeprefix("-"), sort.startswith("-")
        key = partial(sort_key, name, descending=descending)
        expected = [str(row["id"]) for row in sorted(shelf, key=key, reverse=descending)]

        for limit in (7, 100):
            ids = walk_ids(client, alice, f"{BOOKS}/?sort={sort}&limit={limit}")
            assert ids == expected, sort


@pytest.mark.parametrize("name", ["published_date", "page_count"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_books_without_the_value_come_last_in_both_directions(client, alice, shelf, sign, name):
    response = client.get(f"{BOOKS}/?sort={sign}{name}&limit=100", headers=alice.headers)

    are_known = [book[name] is not None for book in response.json]
    assert are_known == sorted(are_known, reverse=True)
    assert set(are_known) == {True, False}


@pytest.mark.parametrize("sort", ["published_date", "-published_date"])
def test_the_last_day_is_not_taken_for_an_unknown_one(client, alice, add_rows, sort):
    rows = [
        {"title": "x", "author": "x", "user_uid": uuid.UUID(alice.id), "published_date": date}
        for date in ("9999-12-31", None, "9999-12-31", None)
    ]
    add_rows(Book, rows)

    response = client.get(f"{BOOKS}/?sort={sort}", headers=alice.headers)

    dates = [book["published_date"] for book in response.json]
    assert dates == ["9999-12-31"] * 2 + [None] * 2


def test_a_walk_has_as_many_books_as_are_counted(client, alice, shelf):
    for query in (
        *("sort=title", "sort=-page_count", "author=austen", "language=en", "publisher=gallimard"),
        *("published_from=1937", "published_to=1937-06&sort=-title", "q=emma", "q=emma&sort=title"),
        *("q=emna", f"user_uid={alice.id}&sort=author", "publisher=gallimard&author=e&q=e"),
    ):
        url = f"{BOOKS}/?{query}"
        count = client.get(f"{url}&count=true", headers=alice.headers).headers["X-Total-Count"]

        ids = walk_ids(client, alice, f"{url}&limit=9")

        assert (len(ids), len(set(ids))) == (int(count), int(count)), query


PARTIAL = {  # whether they find 2001-05
    True: [
        *("published_from=2001-05", "published_from=2001-05-01", "published_from=2001"),
        *("published_to=2001-05", "published_to=2001-05-01"),
        "published_from=2001-05&published_to=2001-05",
    ],
    False: ["published_from=2001-05-02", "published_to=2001-04-30", "published_to=2001"],
}


def test_a_partial_date_counts_as_its_first_day(client, alice, make_book):
    make_book(alice, published_date="2001-05")

    def is_found(query):
        return bool(client.get(f"{BOOKS}/?{query}", headers=alice.headers).json)

    for expected, queries in PARTIAL.items():
        assert exceptions(expected, is_found, queries) == {}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("updated_from=2024-05-01T08:00:00Z", 3),
        ("updated_from=2024-05-01T08:00:00.000001Z", 2),
        ("updated_from=2024-05-01T10:00:00%2B02:00", 3),
        ("updated_to=2024-05-01T08:00:00.000001z", 2),
        ("updated_to=2024-05-01t07:59:59Z", 0),
        ("updated_from=2024-05-01T08:00:00.000001Z&updated_to=2024-05-01T08:00:00.000001Z", 1),
    ],
)
def test_books_are_found_by_when_they_changed(client, alice, add_rows, query, found):
    moments = [MORNING, MORNING + timedelta(microseconds=1), MORNING + timedelta(days=1)]
    book = {"title": "x", "author": "x", "user_uid": uuid.UUID(alice.id)}
    add_rows(Book, [{**book, "updated_at": moment} for moment in moments])

    response = client.get(f"{BOOKS}/?{query}", headers=alice.headers)

    assert (response.status_code, len(response.json)) == (200, found)


def test_what_is_no_moment_is_refused(client, alice):
    moments = [
        *("2024-05-01", "2024-05-01T08:00:00", "20240501T080000Z", "2024-W18-3T08:00:00Z"),
        *("2024-02-30T08:00:00Z", "2024-05-01T24:00:01Z", "2024-05-01T08:00:00+02:00", "now", ""),
        *("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z"),
    ]

    def code_for(moment):
        response = client.get(f"{BOOKS}/?updated_from={moment}", headers=alice.headers)
        return response.status_code, [error["code"] for error in response.json["errors"]]

    assert exceptions((422, ["not-a-timestamp"]), code_for, moments) == {}


@pytest.mark.parametrize("query", ["published_from=0001", "published_to=9999-12-31"])
@pytest.mark.parametrize("sort", ["created_at", "published_date", "-published_date"])
def test_a_book_without_a_date_is_published_at_no_time(client, alice, make_book, query, sort):
    make_book(alice)

    response = client.get(f"{BOOKS}/?{query}&sort={sort}", headers=alice.headers)

    assert response.json == []


@pytest.mark.parametrize("path", ["", "user/{}"])
def test_a_parameter_given_twice_is_refused(client, alice, path):
    for name in PARAMETERS:
        url = f"{BOOKS}/{path.format(alice.id)}?{name}=1&{name}=1"
        response = client.get(url, headers=alice.headers)

        assert (response.status_code, response.json["errors"][0]["parameter"]) == (422, name)


@pytest.fixture
def cursor_of(client, alice):
    def cursor_of(path):
        link = next_link(client.get(path, headers=alice.headers))
        return parse_qs(urlsplit(link).query)["cursor"][0]

    return cursor_of


@pytest.fixture
def status_of(client, alice):
    """The status of a page by title that begins at a cursor."""

    def status_of(cursor, query="sort=title"):
        query = {**parse_qs(query), "cursor": cursor}
        return client.get(BOOKS, query_string=query, headers=alice.headers).status_code

    return status_of


def test_a_cursor_is_good_for_another_limit(shelf, cursor_of, status_of):
    cursor = cursor_of(f"{BOOKS}/?sort=title&limit=1")

    assert status_of(cursor, "sort=title&limit=50&count=true") == 200


def test_a_cursor_of_another_sort_or_other_filters_is_refused(alice, shelf, cursor_of, status_of):
    cursor = cursor_of(f"{BOOKS}/?sort=title&limit=1")

    for query in (
        *("", "sort=-title", "sort=author", "sort=title&q=emma", "sort=title&author=austen"),
        *("sort=title&publisher=gallimard", "sort=title&published_to=2000"),
        *("sort=title&language=en", f"sort=title&user_uid={alice.id}"),
    ):
        assert status_of(cursor, query) == 422, query


@pytest.mark.parametrize("limit", [1, 2, 3])  # the length of a cursor differs
def test_a_cursor_of_which_any_character_was_changed_is_refused(shelf, cursor_of, status_of, limit):
    cursor = cursor_of(f"{BOOKS}/?sort=title&limit={limit}")
    changed = [
        cursor[:place] + other + cursor[place + 1 :]
        for place, character in enumerate(cursor)
        for other in {chr(ord(character) ^ 1), "A_+/"[place % 4]} - {character}
    ]

    assert {status_of(text) for text in changed} == {422}


def test_a_cursor_that_was_cut_anywhere_is_refused(shelf, cursor_of, status_of):
    cursor = cursor_of(f"{BOOKS}/?sort=title&limit=1")

    assert {status_of(cursor[:length]) for length in range(len(cursor))} == {422}


def test_a_cursor_written_otherwise_is_refused(shelf, cursor_of, status_of):
    cursor = cursor_of(f"{BOOKS}/?sort=title&limit=1")

    for form in ("{}=", "{}==", "{}A", "{}AAAA", "A{}", "{0}{0}", "{}%00"):
        assert status_of(form.format(cursor)) == 422


@pytest.mark.parametrize(
    ("sort", "values"),
    [
        ("title", {"title": "体" * 500}),
        ("title", {"title": "\U00020000" * 500}),
        ("title", {"title": "\ufdfa" * 500}),  # 18 letters each, when folded
        ("author", {"author": "体" * 1_000}),
    ],
)
def test_long_texts_lead_to_a_link_of_a_usable_length(client, alice, make_book, sort, values):
    books = [make_book(alice, **values) for _ in range(2)]
    first = client.get(f"{BOOKS}/?sort={sort}&limit=1", headers=alice.headers)

    response = client.get(next_link(first), headers=alice.headers)

    assert len(next_link(first)) < 4_000
    assert ids_of(first.json + response.json) == ids_of(books)


def some_of(rows):
    """The ids of some of the rows."""
    ids = [row["id"] for row in rows]
    return st.sets(st.sampled_from(ids)) if ids else st.just(set())


def book_rows(owner):
    """Rows of books with random values."""
    values = {name: st.sampled_from(values) for name, values in VALUES.items()}
    return st.lists(
        st.fixed_dictionaries(values | {"user_uid": st.just(uuid.UUID(owner))}), max_size=12
    )


@PROPERTY
@given(data=st.data(), sort=st.sampled_from(BOTH_WAYS), limit=st.integers(1, 5))
def test_a_walk_skips_and_repeats_nothing_while_others_write(
    client, alice, add_rows, delete_rows, data, sort, limit
):
    delete_rows(Book)
    rows = add_rows(Book, data.draw(book_rows(alice.id), "at first"))
    untouched = {row["id"] for row in rows}

    def write(number):
        add_rows(Book, data.draw(book_rows(alice.id), "added") if number < 4 else [])
        gone = data.draw(some_of(rows), "gone")
        delete_rows(Book, Book.id.in_(gone))
        untouched.difference_update(gone)

    ids = walk_ids(client, alice, f"{BOOKS}/?sort={sort}&limit={limit}", after_page=write)

    assert len(ids) == len(set(ids))
    assert set(map(str, untouched)) <= set(ids)


@PROPERTY
@given(data=st.data(), limit=st.integers(1, 5))
def test_a_walk_through_the_users_skips_and_repeats_nothing_while_others_write(
    client, admin, add_rows, delete_rows, data, limit
):
    delete_rows(User, User.id != uuid.UUID(admin.id))
    moments = st.lists(st.sampled_from(VALUES["created_at"]), max_size=12)

    def add():
        return add_rows(
            User,
            [
                {
                    "username": f"u{new_id()}",
                    "email": f"{new_id()}@example.com",
                    "password_hash": "none",
                    "created_at": moment,
                }
                for moment in data.draw(moments)
            ],
        )

    rows = add()
    untouched = {row["id"] for row in rows}

    def write(number):
        if number < 4:
            add()
        gone = data.draw(some_of(rows), "gone")
        delete_rows(User, User.id.in_(gone))
        untouched.difference_update(gone)

    ids = walk_ids(client, admin, f"{AUTH}/users?limit={limit}", after_page=write)

    assert len(ids) == len(set(ids))
    assert set(map(str, untouched)) <= set(ids)
