"""The lists of books: what is in them, and that a walk through them misses nothing."""

import re
import uuid

import pytest
from sqlalchemy import func, update

from books_api import PREFIX
from books_api.books.models import Book
from books_api.extensions import db

BOOKS = f"{PREFIX}/books/"


def next_path(response):
    """Where Link leads (RFC 8288); None on the last page."""
    match = re.fullmatch(r'<([^>]+)>; rel="next"', response.headers.get("Link", ""))
    return match and match[1]


def walk(client, account, path, after_page=lambda number: None):
    """Follow Link from the path to the end; return the ids in the order in which they came."""
    ids = []
    for number in range(100):
        response = client.get(path, headers=account.headers)
        ids += [book["id"] for book in response.json]
        after_page(number)
        path = next_path(response)
        if path is None:
            return ids
    raise AssertionError("the pages do not end")


def ids_of(books):
    return [book["id"] for book in books]


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

    response = client.get(f"{BOOKS}user/{alice.id}", headers=bob.headers)

    assert response.json == books[::-1]


def test_a_user_without_books_has_an_empty_list(client, alice, bob):
    response = client.get(f"{BOOKS}user/{alice.id}", headers=bob.headers)

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

    response = client.get(BOOKS + path.format(alice.id) + "?limit=3", headers=alice.headers)

    assert "Link" not in response.headers


@pytest.mark.parametrize("path", ["", "user/{}"])
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
def test_a_walk_shows_every_book_once_in_order(client, alice, make_book, path, limit):
    books = [make_book(alice) for _ in range(7)]

    ids = walk(client, alice, BOOKS + path.format(alice.id) + f"?limit={limit}")

    assert ids == ids_of(books)[::-1]


def test_a_walk_without_the_slash_stays_without_it(client, alice, make_book):
    for _ in range(2):
        make_book(alice)

    response = client.get(f"{PREFIX}/books?limit=1", headers=alice.headers)

    assert next_path(response).startswith(f"{PREFIX}/books?")


def test_a_walk_keeps_its_limit(client, alice, make_book):
    for _ in range(5):
        make_book(alice)
    first = client.get(f"{BOOKS}?limit=2", headers=alice.headers)

    response = client.get(next_path(first), headers=alice.headers)

    assert len(response.json) == 2


def test_a_walk_through_books_of_one_moment_shows_each_once(app, client, alice, make_book):
    books = [make_book(alice) for _ in range(9)]
    with app.app_context():
        db.session.execute(update(Book).values(created_at=func.now()))
        db.session.commit()

    ids = walk(client, alice, f"{BOOKS}?limit=2")

    assert sorted(ids) == sorted(ids_of(books))


def test_a_walk_is_not_disturbed_by_books_that_are_added(client, alice, make_book):
    books = [make_book(alice) for _ in range(9)]

    ids = walk(client, alice, f"{BOOKS}?limit=2", after_page=lambda number: make_book(alice))

    assert ids == ids_of(books)[::-1]


def test_a_walk_is_not_disturbed_by_deletion_of_what_it_has_shown(client, alice, make_book):
    newest_first = [make_book(alice)["id"] for _ in range(9)][::-1]

    def delete_shown(number):  # the last shown, too, at which the cursor points
        for book_id in newest_first[2 * number : 2 * number + 2]:
            client.delete(BOOKS + book_id, headers=alice.headers)

    ids = walk(client, alice, f"{BOOKS}?limit=2", after_page=delete_shown)

    assert ids == newest_first


def test_a_walk_shows_what_remains_when_books_ahead_are_deleted(client, alice, make_book):
    newest_first = [make_book(alice)["id"] for _ in range(9)][::-1]
    deleted = newest_first[3:5]

    def delete_ahead(number):
        if number == 0:
            for book_id in deleted:
                client.delete(BOOKS + book_id, headers=alice.headers)

    ids = walk(client, alice, f"{BOOKS}?limit=2", after_page=delete_ahead)

    assert ids == [book_id for book_id in newest_first if book_id not in deleted]


def test_a_walk_is_not_disturbed_by_changes(client, alice, make_book):
    newest_first = [make_book(alice)["id"] for _ in range(5)][::-1]

    def change(number):
        for book_id in newest_first:
            client.patch(BOOKS + book_id, json={"page_count": 1}, headers=alice.headers)

    ids = walk(client, alice, f"{BOOKS}?limit=2", after_page=change)

    assert ids == newest_first


@pytest.mark.parametrize("path", [BOOKS, f"{BOOKS}user/{{alice}}", f"{PREFIX}/auth/users"])
def test_a_cursor_of_another_list_is_refused(client, alice, bob, admin, make_book, path):
    for _ in range(2):
        make_book(bob)
    first = client.get(f"{BOOKS}user/{bob.id}?limit=1", headers=admin.headers)
    query = next_path(first).partition("?")[2]

    response = client.get(f"{path.format(alice=alice.id)}?{query}", headers=admin.headers)

    assert (response.status_code, response.json["errors"][0]["parameter"]) == (422, "cursor")


def test_a_cursor_is_good_for_another_reader(client, alice, bob, make_book):
    books = [make_book(alice) for _ in range(2)]
    first = client.get(f"{BOOKS}?limit=1", headers=alice.headers)

    response = client.get(next_path(first), headers=bob.headers)

    assert response.json == books[:1]


def test_the_books_of_an_unknown_user_are_404_with_a_cursor_too(app, client, alice, make_book):
    for _ in range(2):
        make_book(alice)
    first = client.get(f"{BOOKS}user/{alice.id}?limit=1", headers=alice.headers)
    path = next_path(first).replace(alice.id, str(uuid.UUID(int=0)))

    response = client.get(path, headers=alice.headers)

    assert response.status_code in (404, 422)
