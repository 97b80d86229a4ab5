"""/auth/me: an account together with its books, its changes and its end."""

import pytest

from tests.conftest import PASSWORD
from tests.helpers import (
    ME,
    USER_FIELDS,
    delete_account,
    execute,
    get_me,
    locked,
    log_in,
    pointers_of,
    released_together,
    snapshot,
    status_of,
)


def test_an_account_has_exactly_the_fields_of_the_contract(client, alice):
    response = client.get(ME, headers=alice.headers)

    assert response.json.keys() == {*USER_FIELDS, "book_count", "books"}


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


def patch_me(client, account, **values):
    return client.patch(ME, json=values, headers=account.headers)


def test_names_are_changed(client, alice):
    values = {"first_name": "Ada", "last_name": "Lovelace", "username": "Ada.L"}

    response = patch_me(client, alice, **values)

    assert response.status_code == 200
    assert {name: response.json[name] for name in values} == values
    assert {name: get_me(client, alice.access_token).json[name] for name in values} == values


def test_names_may_be_emptied(client, make_user):
    carol = make_user(first_name="Carol", last_name="Doe")

    response = patch_me(client, carol, first_name="", last_name="")

    assert (response.json["first_name"], response.json["last_name"]) == ("", "")


def test_change_leaves_the_tokens_alone(client, alice):
    patch_me(client, alice, username="somebody-else")

    assert status_of(client, alice.access_token) == 200


def test_change_without_fields_changes_nothing(app, client, alice):
    before = snapshot(app)

    response = patch_me(client, alice)

    assert response.status_code == 200
    assert snapshot(app) == before


def test_email_is_changed_with_the_password(client, alice):
    response = patch_me(client, alice, email="new@example.com", current_password=PASSWORD)

    assert response.status_code == 200
    assert response.json["email"] == "new@example.com"
    assert log_in(client, "new@example.com").status_code == 200


@pytest.mark.parametrize(
    "values",
    [
        {"email": "new@example.com"},
        {"email": "new@example.com", "current_password": "wrong password"},
        {"email": "new@example.com", "current_password": PASSWORD.upper()},
        {"email": "new@example.com", "current_password": ""},
        {"email": "new@example.com", "current_password": None},
        {"email": "ALICE@example.com"},
    ],
)
def test_email_is_not_changed_without_the_password(app, client, alice, values):
    before = snapshot(app)

    response = patch_me(client, alice, **values)

    assert (response.status_code, pointers_of(response)) == (422, ["/current_password"])
    assert snapshot(app) == before


@pytest.mark.parametrize(
    ("email", "is_verified"), [("new@example.com", False), ("alice@example.com", True)]
)
def test_new_email_is_not_verified(app, client, alice, email, is_verified):
    execute(app, "UPDATE users SET is_verified = true")

    response = patch_me(client, alice, email=email, current_password=PASSWORD)

    assert response.json["is_verified"] is is_verified


@pytest.mark.parametrize(
    "values",
    [{"username": "other"}, {"email": "new@example.com", "current_password": PASSWORD}],
)
def test_change_while_the_account_is_deleted_is_401(app, alice, servers, values):
    (answer,) = released_together(
        servers,
        "DELETE FROM users",
        lambda: patch_me(app.test_client(), alice, **values),
        commit=True,
    )

    assert answer.status_code == 401


@pytest.mark.parametrize("field", ["email", "username"])
@pytest.mark.parametrize("spell", [str, str.upper])
def test_change_to_what_another_has_is_refused(app, client, alice, bob, field, spell):
    before = snapshot(app)

    response = patch_me(
        client, alice, **{field: spell(getattr(bob, field))}, current_password=PASSWORD
    )

    assert (response.status_code, pointers_of(response)) == (409, [f"/{field}"])
    assert snapshot(app) == before


def test_case_of_ones_own_username_can_be_changed(client, alice):
    assert patch_me(client, alice, username="ALICE").json["username"] == "ALICE"


def test_account_is_deleted_with_its_books_and_sessions(app, client, alice, bob, make_book):
    make_book(alice)
    kept = make_book(bob)

    response = delete_account(client, alice)

    assert response.status_code == 204
    assert [row.username for row in execute(app, "SELECT username FROM users")] == ["bob"]
    assert [str(row.id) for row in execute(app, "SELECT id FROM books")] == [kept["id"]]
    assert [str(row.user_id) for row in execute(app, "SELECT user_id FROM sessions")] == [bob.id]
    assert log_in(client).status_code == 401


def test_deletion_of_a_plain_account_waits_for_no_admin(client, alice, admin, servers):
    with locked(servers, "SELECT FROM users WHERE role = 'admin' FOR UPDATE"):
        response = delete_account(client, alice)

    assert response.status_code == 204


def test_name_of_a_deleted_account_is_free_and_the_old_tokens_stay_dead(client, alice, make_user):
    delete_account(client, alice)

    again = make_user(username="alice", email="alice@example.com")

    assert status_of(client, again.access_token) == 200
    assert status_of(client, alice.access_token) == 401


@pytest.mark.parametrize(
    "body",
    [{}, {"current_password": "wrong password"}, {"current_password": ""}, {"password": PASSWORD}],
)
def test_account_is_not_deleted_without_the_password(app, client, alice, body):
    before = snapshot(app)

    response = client.delete(ME, json=body, headers=alice.headers)

    assert response.status_code == 422
    assert snapshot(app) == before


def test_account_is_not_deleted_without_a_body(app, client, alice):
    before = snapshot(app)

    response = client.delete(ME, headers=alice.headers)

    assert response.status_code == 415
    assert snapshot(app) == before
