"""What admins see and change of others."""

from uuid import uuid4

import pytest

from tests.conftest import bearer
from tests.helpers import (
    AUTH,
    BOOKS,
    NEW_PASSWORD,
    USER_FIELDS,
    delete_account,
    execute,
    ids_of,
    log_in,
    next_link,
    pointers_of,
    released_together,
    snapshot,
    status_of,
    walk,
)


def patch_user(client, editor, user, **values):
    return client.patch(f"{AUTH}/users/{user.id}", json=values, headers=editor.headers)


def test_admin_lists_users(client, admin, alice, bob):
    response = client.get(f"{AUTH}/users", headers=admin.headers)

    assert response.status_code == 200
    assert {user["username"] for user in response.json} == {"admin", "alice", "bob"}


def test_list_of_users_comes_in_pages(client, admin, make_user):
    made = [make_user().id for _ in range(4)]

    assert ids_of(walk(client, admin, f"{AUTH}/users?limit=2")) == [*reversed(made), admin.id]


@pytest.mark.parametrize("sort", ["created_at", "username", "email"])
def test_list_of_users_can_be_sorted(client, admin, make_user, sort):
    for name, email in [("Bob", "z@example.com"), ("al", "Y@example.com"), ("carl", "x@x.org")]:
        make_user(username=name, email=email)

    up = walk(client, admin, f"{AUTH}/users?limit=2&sort={sort}")
    down = walk(client, admin, f"{AUTH}/users?limit=2&sort=-{sort}")

    assert len(up) == 4
    assert up == sorted(up, key=lambda user: user[sort].lower())
    assert down == up[::-1]


def test_users_are_counted_when_asked_for(client, admin, alice):
    counted = client.get(f"{AUTH}/users?limit=1&count=true", headers=admin.headers)
    uncounted = client.get(f"{AUTH}/users?limit=1", headers=admin.headers)

    assert counted.headers["X-Total-Count"] == "2"
    assert "X-Total-Count" not in uncounted.headers


@pytest.mark.parametrize("query", ["sort=password_hash", "sort=", "count=1", "q=alice"])
def test_unknown_order_or_parameter_of_users_is_refused(client, admin, query):
    response = client.get(f"{AUTH}/users?{query}", headers=admin.headers)

    assert response.status_code == 422
    assert response.json["errors"][0]["parameter"] == query.partition("=")[0]


def test_cursor_of_users_is_good_for_its_order_only(client, admin, alice):
    first = client.get(f"{AUTH}/users?limit=1&sort=email", headers=admin.headers)
    url = next_link(first).replace("sort=email", "sort=username")

    assert client.get(url, headers=admin.headers).status_code == 422


def test_admin_reads_a_user(client, admin, alice):
    response = client.get(f"{AUTH}/users/{alice.id}", headers=admin.headers)

    assert response.status_code == 200
    assert response.json.keys() == USER_FIELDS


@pytest.mark.parametrize("path", ["/users", "/users/{id}"])
def test_no_answer_to_an_admin_has_a_hash(client, admin, alice, path):
    response = client.get(f"{AUTH}{path.format(id=alice.id)}", headers=admin.headers)

    assert "scrypt" not in response.text
    assert "password" not in response.text


def test_unknown_user_is_not_found(client, admin):
    url = f"{AUTH}/users/{uuid4()}"

    assert client.get(url, headers=admin.headers).status_code == 404
    assert client.patch(url, json={"role": "admin"}, headers=admin.headers).status_code == 404


@pytest.mark.parametrize(
    "values", [{"role": "admin"}, {"is_active": False}, {"is_verified": True}, {}]
)
def test_admin_changes_a_user(client, admin, alice, values):
    response = patch_user(client, admin, alice, **values)

    assert response.status_code == 200
    assert {name: response.json[name] for name in values} == values


@pytest.mark.parametrize(
    "values", [{"is_verified": True}, {"role": "user"}, {"is_active": True}, {}]
)
def test_change_that_revokes_nothing_leaves_the_tokens(client, admin, alice, values):
    patch_user(client, admin, alice, **values)

    assert status_of(client, alice.access_token) == 200
    assert status_of(client, alice.refresh_token) == 200


OUT_OF_FORM = {
    "role": ["root", "Admin", "", None, ["admin"]],
    "is_active": ["false", 0, None],
    "is_verified": [1],
    "username": ["other"],
    "email": ["other@example.com"],
    "id": [str(uuid4())],
    "password": [NEW_PASSWORD],
    "password_hash": ["x"],
    "token_epoch": [0],
}


def test_change_out_of_form_is_refused(app, client, admin, alice):
    before = snapshot(app)

    for name, values in OUT_OF_FORM.items():
        for value in values:
            response = patch_user(client, admin, alice, **{name: value})
            assert (response.status_code, pointers_of(response)) == (422, [f"/{name}"])
    assert snapshot(app) == before


def test_user_cannot_promote_himself(app, client, alice):
    assert patch_user(client, alice, alice, role="admin").status_code == 403
    assert execute(app, "SELECT role FROM users") == [("user",)]


@pytest.mark.parametrize(("role", "code"), [("x", "not-a-choice"), (5, "not-a-string")])
def test_role_that_there_is_not_is_told_by_its_code(client, admin, bob, role, code):
    response = client.patch(f"{AUTH}/users/{bob.id}", json={"role": role}, headers=admin.headers)

    assert [error["code"] for error in response.json["errors"]] == [code]


def test_role_that_is_only_in_the_token_is_what_counts_and_dies_with_it(client, admin, bob):
    patch_user(client, admin, bob, role="admin")
    patch_user(client, admin, bob, role="user")

    assert client.get(f"{AUTH}/users", headers=bob.headers).status_code == 401


@pytest.mark.parametrize("values", [{"role": "user"}, {"is_active": False}])
def test_last_active_admin_stays_one(app, client, admin, make_user, values):
    make_user(role="admin", is_active=False)
    before = snapshot(app)

    response = patch_user(client, admin, admin, **values)

    assert response.status_code == 409
    assert snapshot(app) == before


def test_last_active_admin_cannot_delete_the_account(app, client, admin, alice):
    before = snapshot(app)

    response = delete_account(client, admin)

    assert response.status_code == 409
    assert snapshot(app) == before


def test_admin_who_is_not_the_last_can_go(client, admin, make_user):
    other = make_user(role="admin")

    assert patch_user(client, other, other, role="user").status_code == 200


def test_last_active_admin_can_be_changed_otherwise(client, admin):
    assert patch_user(client, admin, admin, is_verified=True).status_code == 200


def demote(app, editor, user):
    return patch_user(app.test_client(), editor, user, role="user")


def deactivate(app, editor, user):
    return patch_user(app.test_client(), editor, user, is_active=False)


@pytest.mark.parametrize(("first", "second"), [(demote, demote), (demote, deactivate)])
def test_two_admins_demoting_each_other_at_once_leave_one(
    app, admin, make_user, servers, first, second
):
    other = make_user(role="admin")

    answers = released_together(
        servers,
        "SELECT FROM users FOR UPDATE",
        lambda: first(app, admin, other),
        lambda: second(app, other, admin),
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(execute(app, "SELECT FROM users WHERE role = 'admin' AND is_active")) == 1


def test_two_admins_leaving_at_once_leave_one(app, admin, make_user, servers):
    other = make_user(role="admin")

    answers = released_together(
        servers,
        "SELECT FROM users FOR UPDATE",
        lambda: delete_account(app.test_client(), admin),
        lambda: delete_account(app.test_client(), other),
    )

    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert len(execute(app, "SELECT FROM users WHERE role = 'admin' AND is_active")) == 1


def test_books_of_others_are_out_of_a_demoted_admins_reach(
    app, client, admin, make_user, alice, make_book
):
    other = make_user(role="admin")
    book = make_book(alice)
    patch_user(client, other, admin, role="user")
    again = log_in(client, "admin@example.com").json["access_token"]

    response = client.delete(f"{BOOKS}/{book['id']}", headers=bearer(again))

    assert response.status_code == 403
    assert len(execute(app, "SELECT FROM books")) == 1
