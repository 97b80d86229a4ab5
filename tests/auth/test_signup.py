"""Sign-up: what makes an account, and what is refused."""

import pytest

from tests.conftest import PASSWORD, bearer
from tests.helpers import (
    AUTH,
    CAROL,
    USER_FIELDS,
    exceptions,
    execute,
    forge,
    log_in,
    pointers_of,
    sign_up,
    together,
)


def test_signup_answers_with_the_user(client):
    response = sign_up(client, first_name="Carol", last_name="Shaw")

    assert response.status_code == 201
    assert response.json.keys() == USER_FIELDS
    assert (response.json["first_name"], response.json["last_name"]) == ("Carol", "Shaw")


def test_new_user_has_no_rights_but_is_active(client):
    user = sign_up(client).json

    assert (user["role"], user["is_verified"], user["is_active"]) == ("user", False, True)
    assert (user["first_name"], user["last_name"]) == ("", "")


def test_password_is_stored_as_a_hash_only(app, client):
    sign_up(client)

    ((stored,),) = execute(app, "SELECT password_hash FROM users")
    assert stored.startswith("scrypt:")
    assert PASSWORD not in str(execute(app, "SELECT * FROM users"))


def test_signup_opens_no_session(app, client):
    response = sign_up(client)

    assert "token" not in response.text
    assert execute(app, "SELECT FROM sessions") == []


def test_username_and_names_are_trimmed_and_normalized(client):
    user = sign_up(client, username="  Ame\u0301lie ", first_name=" Amélie ").json

    assert (user["username"], user["first_name"]) == ("Amélie", "Amélie")


@pytest.mark.parametrize("username", [" " + 50 * "x", 50 * "x" + " ", 51 * "x"])
def test_username_is_measured_before_it_is_trimmed(client, username):
    response = sign_up(client, username=username)

    assert response.status_code == 422
    assert response.json["errors"] == [
        {"pointer": "/username", "code": "too-long", "detail": "Must have at most 50 characters."}
    ]


@pytest.mark.parametrize(
    "email", ["x@example.com", "o'brien+books@sub.example.co.uk", "é@exämple.de"]
)
def test_email_of_any_usual_form_is_taken(client, email):
    assert sign_up(client, email=email).json["email"] == email


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "alice@example.com"),
        ("email", "ALICE@Example.COM"),
        ("username", "alice"),
        ("username", "Alice"),
        ("username", "  alice  "),
    ],
)
def test_email_or_username_of_another_is_refused(app, client, alice, field, value):
    response = sign_up(client, **{field: value})

    assert (response.status_code, pointers_of(response)) == (409, [f"/{field}"])
    assert len(execute(app, "SELECT FROM users")) == 1


@pytest.mark.parametrize("username", ["élodie", "ÉLODIE", "E\u0301lodie"])
def test_username_of_another_is_refused_in_any_case_and_unicode_form(client, make_user, username):
    make_user(username="Élodie")

    assert sign_up(client, username=username).status_code == 409


REFUSED = {
    "username": ["ab", "x" * 51, "   ", None, 123, "nul\0"],
    "email": [
        *("", "nobody", "nobody@", "@example.com", "a b@example.com", "a@example.com, b@b.org"),
        *("Carol <carol@example.com>", "carol@example.com\n", f"{'x' * 250}@example.com", None),
        *("carol@example.com\nBcc: mallory@example.com", ["carol@example.com"]),
    ],
    "first_name": ["x" * 101, None],
    "last_name": ["x" * 101, 7],
    "role": ["admin"],
    "is_verified": [True],
    "is_active": [True],
    "nickname": ["Caz"],
}


@pytest.mark.parametrize("field", REFUSED)
def test_signup_out_of_form_is_refused(app, client, field):
    def answer_to(value):
        response = sign_up(client, **{field: value})
        return response.status_code, pointers_of(response)

    assert exceptions((422, [f"/{field}"]), answer_to, REFUSED[field]) == {}
    assert execute(app, "SELECT FROM users") == []


@pytest.mark.parametrize("missing", CAROL)
def test_signup_needs_all_three(client, missing):
    body = {name: value for name, value in CAROL.items() if name != missing}

    response = client.post(f"{AUTH}/signup", json=body)

    assert (response.status_code, pointers_of(response)) == (422, [f"/{missing}"])


def test_two_signups_at_once_with_an_email_make_one_account(app):
    answers = together(
        lambda: sign_up(app.test_client(), username="carol"),
        lambda: sign_up(app.test_client(), username="caroline"),
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert len(execute(app, "SELECT FROM users")) == 1


def test_signup_changes_nobody_else(app, client, alice):
    before = execute(app, "SELECT * FROM users")

    sign_up(client)

    assert execute(app, "SELECT * FROM users WHERE username = 'alice'") == before


# Sign-up closed.


def test_closed_signup_makes_no_account(app, share_app):
    client = share_app(signup_enabled=False).test_client()

    response = sign_up(client)

    assert response.status_code == 403
    assert execute(app, "SELECT FROM users") == []


def test_closed_signup_is_open_to_an_admin(app, share_app, admin):
    client = share_app(signup_enabled=False).test_client()

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
    app, client, share_app, admin, alice, token, status
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

    response = sign_up(share_app(signup_enabled=False).test_client(), bearer(tokens[token]))

    assert response.status_code == status
    assert len(execute(app, "SELECT FROM users")) == 2


def test_operator_makes_accounts_when_signup_is_closed(share_app):
    app = share_app(signup_enabled=False)

    result = app.test_cli_runner().invoke(
        args=[
            *("users", "create", "--email", "carol@example.com", "--username", "carol"),
            "--password-stdin",
        ],
        input=f"{PASSWORD}\n",
    )

    assert result.exit_code == 0
    assert log_in(app.test_client(), "carol@example.com").status_code == 200
