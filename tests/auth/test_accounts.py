"""One's own account, passwords and their reset, and what admins do."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt
import pytest
import time_machine
from itsdangerous import URLSafeTimedSerializer

from books_api.auth import resets, service
from books_api.keys import hkdf
from tests.conftest import KEY, PASSWORD, bearer
from tests.helpers import (
    AUTH,
    BOOKS,
    ME,
    NEW_PASSWORD,
    change_password,
    claims_of,
    delete_account,
    execute,
    forge,
    get_me,
    ids_of,
    locked,
    log_in,
    next_link,
    pointers_of,
    released_together,
    reset_password,
    rotate,
    sign_up,
    snapshot,
    status_of,
    walk,
)

OTHER_KEY = "a9b8c7d6e5f4031221304f5e6d7c8b9aa9b8c7d6e5f4031221304f5e6d7c8b9a"


def patch_me(client, account, **values):
    return client.patch(ME, json=values, headers=account.headers)


def patch_user(client, editor, user, **values):
    return client.patch(f"{AUTH}/users/{user.id}", json=values, headers=editor.headers)


# One's own account.


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

    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/current_password"
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

    assert response.status_code == 409
    assert response.json["errors"][0]["pointer"] == f"/{field}"
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


def test_deletion_of_a_plain_account_waits_for_no_admin(client, alice, admin, servers):
    with locked(servers, "SELECT FROM users WHERE role = 'admin' FOR UPDATE"):
        response = delete_account(client, alice)

    assert response.status_code == 204


def test_tokens_of_a_deleted_account_are_dead(client, alice):
    delete_account(client, alice)

    assert status_of(client, alice.access_token) == 401
    assert rotate(client, alice.refresh_token).status_code == 401
    assert log_in(client).status_code == 401


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


# Passwords.


def test_password_is_changed(client, alice):
    response = change_password(client, alice)

    assert response.status_code == 200
    assert response.json.keys() == {"access_token", "refresh_token"}
    assert log_in(client, password=NEW_PASSWORD).status_code == 200
    assert log_in(client).status_code == 401


def test_session_that_changes_the_password_goes_on(client, alice):
    pair = change_password(client, alice).json

    assert claims_of(pair["access_token"])["sid"] == claims_of(alice.access_token)["sid"]
    assert rotate(client, pair["refresh_token"]).status_code == 200
    (session,) = client.get(f"{AUTH}/sessions", headers=bearer(pair["access_token"])).json
    assert session["current"]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("current_password", {"current_password": "wrong password"}),
        ("current_password", {"current_password": f" {PASSWORD}"}),
        ("current_password", {"current_password": ""}),
        ("new_password", {"new_password": "short"}),
        ("new_password", {"new_password": "x" * 129}),
        ("new_password", {"new_password": "password"}),
        ("new_password", {"new_password": "Alice@example.com"}),
        ("new_password", {"new_password": None}),
        ("token", {"token": "x"}),
    ],
)
def test_password_is_not_changed(app, client, alice, field, values):
    before = snapshot(app)

    response = change_password(client, alice, **values)

    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == f"/{field}"
    assert snapshot(app) == before
    assert status_of(client, alice.access_token) == 200


def test_password_confirmation_that_fails_is_a_security_event(client, alice, events):
    change_password(client, alice, current_password="wrong password")

    assert len(events("password_confirmation_failed")) == 1


# Reset.


@pytest.fixture
def reset_token(make_reset_token, alice):
    return make_reset_token(alice)


def test_password_is_reset(client, alice, reset_token):
    response = reset_password(client, reset_token)

    assert (response.status_code, response.data) == (204, b"")
    assert log_in(client, password=NEW_PASSWORD).status_code == 200


def test_reset_token_works_once(app, client, reset_token):
    reset_password(client, reset_token)
    before = snapshot(app)

    response = reset_password(client, reset_token, "yet another passphrase")

    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/token"
    assert snapshot(app) == before


def test_reset_token_sent_twice_at_once_works_once(app, reset_token, servers):
    answers = released_together(
        servers,
        "SELECT FROM users FOR UPDATE",
        lambda: reset_password(app.test_client(), reset_token),
        lambda: reset_password(app.test_client(), reset_token, "yet another passphrase"),
    )

    assert sorted(answer.status_code for answer in answers) == [204, 422]
    assert execute(app, "SELECT token_epoch FROM users") == [(1,)]


@pytest.mark.parametrize(("age", "status"), [(24 * 3600 - 60, 204), (24 * 3600 + 60, 422)])
def test_reset_token_works_for_24_hours(client, alice, make_reset_token, age, status):
    with time_machine.travel(datetime.now(UTC) - timedelta(seconds=age)):
        token = make_reset_token(alice)

    assert reset_password(client, token).status_code == status


def test_reset_token_survives_a_weak_password(client, alice, reset_token):
    assert pointers_of(reset_password(client, reset_token, "password")) == ["/new_password"]

    assert reset_password(client, reset_token).status_code == 204


def test_username_is_no_new_password(client, make_user, make_reset_token):
    token = make_reset_token(make_user(username="a-long-username"))

    assert reset_password(client, token, "A-Long-Username").status_code == 422


def expired_by_new_password(app, client, alice):
    change_password(client, alice)


def expired_by_logout_everywhere(app, client, alice):
    client.post(f"{AUTH}/logout-all", headers=alice.headers)


def expired_by_a_newer_one(app, client, alice):
    with app.app_context():
        resets.make_reset_token(service.get_user(UUID(alice.id)))


def expired_by_new_email(app, client, alice):
    patch_me(client, alice, email="new@example.com", current_password=PASSWORD)


def expired_by_deactivation(app, client, alice):
    execute(app, "UPDATE users SET is_active = false")


def expired_by_deletion(app, client, alice):
    execute(app, "DELETE FROM users")


@pytest.mark.parametrize(
    "event",
    [
        expired_by_new_password,
        expired_by_logout_everywhere,
        expired_by_a_newer_one,
        expired_by_new_email,
        expired_by_deactivation,
        expired_by_deletion,
    ],
)
def test_reset_token_is_dead_after(app, client, alice, reset_token, event):
    event(app, client, alice)

    response = reset_password(client, reset_token, "yet another passphrase")

    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/token"


def test_newest_reset_token_works(client, alice, reset_token, make_reset_token):
    newest = make_reset_token(alice)

    assert reset_password(client, newest).status_code == 204


def test_reset_token_is_signed_with_sha_256(reset_token):
    assert len(reset_token.rpartition(".")[2]) == 43  # 256 bits in Base64


def signed(payload, key=KEY, use="password reset"):
    signer = {"key_derivation": "none", "digest_method": hashlib.sha256}
    key = hkdf(key.encode(), use.encode())
    return URLSafeTimedSerializer(key, signer_kwargs=signer).dumps(payload)


@pytest.mark.parametrize(
    "forged",
    [
        lambda token, alice: ("X" if token[0] != "X" else "Y") + token[1:],
        lambda token, alice: token[:-4],
        lambda token, alice: token.replace(".", "", 1),
        lambda token, alice: signed([alice.id, 0, 1], key=OTHER_KEY),
        lambda token, alice: signed([alice.id, 0, 1], use="cursor"),
        lambda token, alice: URLSafeTimedSerializer(KEY, "password-reset").dumps([alice.id, 0, 1]),
        lambda token, alice: signed([alice.id, 1, 1]),
        lambda token, alice: signed([alice.id, 0, 2]),
        lambda token, alice: signed([str(uuid4()), 0, 1]),
        lambda token, alice: alice.access_token,
        lambda token, alice: alice.refresh_token,
        lambda token, alice: "...",
        lambda token, alice: "токен",
        lambda token, alice: "." * 400,
    ],
)
def test_forged_reset_token_is_refused(app, client, alice, reset_token, forged):
    before = snapshot(app)

    response = reset_password(client, forged(reset_token, alice))

    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/token"
    assert snapshot(app) == before


def test_reset_token_is_no_bearer_token(client, reset_token):
    assert get_me(client, reset_token).status_code == 401


def test_refused_reset_tokens_look_the_same(client, make_user, make_reset_token):
    inactive = make_reset_token(make_user(is_active=False))
    tokens = [inactive, signed([str(uuid4()), 0, 1]), "nonsense"]

    answers = [reset_password(client, token) for token in tokens]

    assert len({str({**answer.json, "request_id": ""}) for answer in answers}) == 1


# Admins.


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
    assert response.json.keys() == {
        "id",
        "username",
        "email",
        "first_name",
        "last_name",
        "role",
        "is_verified",
        "is_active",
        "created_at",
        "updated_at",
    }


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


@pytest.mark.parametrize(
    "values",
    [
        {"role": "root"},
        {"role": "Admin"},
        {"role": ""},
        {"role": None},
        {"role": ["admin"]},
        {"is_active": "false"},
        {"is_active": 0},
        {"is_active": None},
        {"is_verified": 1},
        {"username": "other"},
        {"email": "other@example.com"},
        {"password": NEW_PASSWORD},
        {"password_hash": "x"},
        {"token_epoch": 0},
        {"id": str(uuid4())},
    ],
)
def test_change_out_of_form_is_refused(app, client, admin, alice, values):
    before = snapshot(app)

    response = patch_user(client, admin, alice, **values)

    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == f"/{next(iter(values))}"
    assert snapshot(app) == before


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/users"), ("GET", "/users/{id}"), ("PATCH", "/users/{id}")]
)
def test_admin_routes_are_closed_to_users(app, client, alice, bob, method, path):
    before = snapshot(app)

    response = client.open(
        f"{AUTH}{path.format(id=bob.id)}",
        method=method,
        json={"role": "admin"},
        headers=alice.headers,
    )

    assert response.status_code == 403
    assert snapshot(app) == before


def test_user_cannot_promote_himself(app, client, alice):
    assert patch_user(client, alice, alice, role="admin").status_code == 403
    assert execute(app, "SELECT role FROM users") == [("user",)]


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


# Sign-up closed; the signing key changed.


def test_closed_signup_makes_no_account(app, make_app):
    client = make_app(signup_enabled=False).test_client()

    response = sign_up(client)

    assert response.status_code == 403
    assert execute(app, "SELECT FROM users") == []


def test_closed_signup_is_open_to_an_admin(app, make_app, admin):
    client = make_app(signup_enabled=False).test_client()

    response = sign_up(client, admin.headers)

    assert response.status_code == 201
    assert response.json["role"] == "user"


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("user", 403),
        ("revoked", 401),
        ("read-only", 403),
        ("script", 403),
        ("refresh", 401),
        ("nonsense", 401),
    ],
)
def test_closed_signup_is_open_to_no_other_token(
    app, client, make_app, admin, alice, token, status
):
    tokens = {
        "user": alice.access_token,
        "revoked": admin.access_token,
        "read-only": forge(admin.access_token, scope="read"),
        "script": forge(admin.access_token, scope="full"),
        "refresh": admin.refresh_token,
        "nonsense": "nonsense",
    }
    if token == "revoked":
        client.post(f"{AUTH}/logout", headers=admin.headers)

    response = sign_up(make_app(signup_enabled=False).test_client(), bearer(tokens[token]))

    assert response.status_code == status
    assert len(execute(app, "SELECT FROM users")) == 2


def test_operator_makes_accounts_when_signup_is_closed(make_app):
    app = make_app(signup_enabled=False)

    result = app.test_cli_runner().invoke(
        args=[
            *("users", "create", "--email", "carol@example.com", "--username", "carol"),
            "--password-stdin",
        ],
        input=f"{PASSWORD}\n",
    )

    assert result.exit_code == 0
    assert log_in(app.test_client(), "carol@example.com").status_code == 200


def test_token_names_its_key_and_tells_nothing_of_it(client, alice):
    kid = jwt.get_unverified_header(alice.access_token)["kid"]

    assert kid
    assert kid not in KEY


def test_new_key_logs_nobody_out_while_the_old_one_verifies(make_app, alice):
    client = make_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    assert status_of(client, alice.access_token) == 200
    pair = rotate(client, alice.refresh_token).json
    assert status_of(client, pair["access_token"]) == 200


def test_token_of_the_old_key_with_the_id_of_version_1_0_0_is_taken(make_app, alice):
    kid = hmac.digest(KEY.encode(), b"kid", "sha256").hex()[:8]
    client = make_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    assert status_of(client, forge(alice.access_token, headers={"kid": kid})) == 200


def test_new_key_signs_what_is_issued(client, make_app, alice):
    new = make_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    pair = rotate(new, alice.refresh_token).json

    only_new = make_app(jwt_secret_key=OTHER_KEY).test_client()
    assert status_of(only_new, pair["access_token"]) == 200
    assert status_of(client, pair["access_token"]) == 401


def test_lost_answer_is_found_again_after_the_key_has_changed(client, make_app, alice):
    before = rotate(client, alice.refresh_token).json
    new = make_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    after = rotate(new, alice.refresh_token).json

    assert claims_of(after["refresh_token"])["jti"] == claims_of(before["refresh_token"])["jti"]


def test_old_key_without_the_setting_verifies_nothing(make_app, alice):
    client = make_app(jwt_secret_key=OTHER_KEY).test_client()

    assert status_of(client, alice.access_token) == 401


def test_old_key_does_not_verify_what_claims_the_new_one(client, make_app, alice):
    app = make_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY)
    kid = jwt.get_unverified_header(
        rotate(app.test_client(), alice.refresh_token).json["access_token"]
    )["kid"]
    forged = forge(alice.access_token, key=KEY, headers={"kid": kid})

    assert status_of(app.test_client(), forged) == 401


def test_reset_token_of_the_old_key_works_while_it_verifies(make_app, alice, reset_token):
    client = make_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    assert reset_password(client, reset_token).status_code == 204


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
