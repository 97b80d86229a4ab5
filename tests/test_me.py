"""GET /auth/me: an account together with its books."""

import pytest

from tests.helpers import ME

FIELDS = {
    *("id", "username", "email", "first_name", "last_name", "role", "is_verified", "is_active"),
    *("created_at", "updated_at", "book_count", "books"),
}


def test_an_account_has_exactly_the_fields_of_the_contract(client, alice):
    response = client.get(ME, headers=alice.headers)

    assert set(response.json) == FIELDS


def test_an_account_is_the_callers(client, alice, bob):
    response = client.get(ME, headers=bob.headers)

    assert (response.json["id"], response.json["email"]) == (bob.id, bob.email)


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_account_answers_with_and_without_a_slash(client, alice, slash):
    response = client.get(ME + slash, headers=alice.headers)

    assert response.status_code == 200


def test_an_account_without_books_counts_none(client, alice, bob, make_book):
    make_book(bob)

    response = client.get(ME, headers=alice.headers)

    assert (response.json["book_count"], response.json["books"]) == (0, [])


def test_the_books_of_an_account_are_as_the_list_has_them(client, alice, make_book):
    books = [make_book(alice, page_count=304, isbn="9783522119405"), make_book(alice)]

    response = client.get(ME, headers=alice.headers)

    assert response.json["books"] == books[::-1]


def test_an_account_counts_all_its_books_and_shows_the_newest_20(client, alice, make_book):
    books = [make_book(alice)["id"] for _ in range(21)]

    response = client.get(ME, headers=alice.headers)

    shown = [book["id"] for book in response.json["books"]]
    assert (response.json["book_count"], shown) == (21, books[:0:-1])


def test_a_strangers_account_is_401(client):
    response = client.get(ME)

    assert response.status_code == 401
