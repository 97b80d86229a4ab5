"""Sign-up and tokens for scripts, sent again: one effect, one answer, and no secret stored."""

import pytest

from tests.conftest import PASSWORD, bearer
from tests.helpers import (
    CAROL,
    SESSIONS,
    change_password,
    execute,
    log_in,
    log_out_everywhere,
    make_script_token,
    sign_up,
    snapshot,
    status_of,
    together,
)

KEY = {"Idempotency-Key": '"4711"'}
TOKEN = {"name": "backup", "expires_in_days": 30, "read_only": True}


def make_token(client, account, headers=KEY, **values):
    body = {**TOKEN, **values}
    return client.post(SESSIONS, json=body, headers={**account.headers, **headers})


@pytest.mark.parametrize("send", [sign_up, make_token])
def test_request_sent_again_gets_the_first_answer(app, client, alice, send):
    arguments = (client,) if send is sign_up else (client, alice)
    first = send(*arguments, headers=KEY)
    before = snapshot(app)

    again = send(*arguments, headers={"Idempotency-Key": "4711"})

    assert (first.status_code, first.headers.get("Idempotent-Replayed")) == (201, None)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json == first.json
    assert snapshot(app) == before


def test_account_sent_again_has_its_first_answer_when_it_has_changed_since(app, client):
    first = sign_up(client, headers=KEY)
    execute(app, "UPDATE users SET first_name = 'Caroline', updated_at = now()")

    assert sign_up(client, headers=KEY).json == first.json


@pytest.mark.parametrize(
    ("values", "status", "problem"),
    [
        ({"password": "another quite long one"}, 422, "key-reused"),
        ({"first_name": "Caroline"}, 422, "key-reused"),
        ({"username": "caroline"}, 422, "key-reused"),
        ({"email": "c@example.com"}, 409, "username-taken"),
        ({"email": "CAROL@example.com"}, 422, "key-reused"),
    ],
)
def test_key_of_another_sign_up_is_refused(client, values, status, problem):
    sign_up(client, headers=KEY)

    response = sign_up(client, headers=KEY, **values)

    assert (response.status_code, response.json["type"]) == (status, f"/problems/{problem}")


@pytest.mark.parametrize(("age", "status"), [("23 hours", 201), ("25 hours", 409)])
def test_sign_up_is_known_for_24_hours(app, client, age, status):
    sign_up(client, headers=KEY)
    execute(app, f"UPDATE idempotency_keys SET created_at = now() - interval '{age}'")

    assert sign_up(client, headers=KEY).status_code == status


def test_another_key_finds_no_account(client):
    sign_up(client, headers=KEY)

    assert sign_up(client, headers={"Idempotency-Key": "4712"}).status_code == 409


def test_key_of_a_sign_up_lets_nobody_guess_the_password(share_app):
    client = share_app(login_account_limit="3 per minute").test_client()
    sign_up(client, headers=KEY)

    statuses = [
        sign_up(client, headers=KEY, password=f"guess number {n}").status_code for n in range(5)
    ]

    assert statuses == [422] * 3 + [429] * 2


def test_of_simultaneous_sign_ups_with_a_key_one_makes_an_account(app):
    answers = together(*[lambda: sign_up(app.test_client(), headers=KEY)] * 6)

    statuses = {answer.status_code for answer in answers}
    assert statuses <= {201, 503}  # TooBusy, which may be sent again
    assert len({answer.json["id"] for answer in answers if answer.status_code == 201}) == 1
    assert len(execute(app, "SELECT FROM users")) == 1


@pytest.mark.parametrize("values", [{"read_only": False}, {"name": "x"}, {"expires_in_days": 1}])
def test_key_of_another_token_is_refused(app, client, alice, values):
    make_token(client, alice)

    response = make_token(client, alice, **values)

    assert (response.status_code, response.json["type"]) == (422, "/problems/key-reused")
    assert len(execute(app, "SELECT FROM sessions WHERE name IS NOT NULL")) == 1


def test_token_sent_again_is_good(client, alice):
    make_token(client, alice)

    token = make_token(client, alice).json["access_token"]

    assert status_of(client, token) == 200


def test_token_that_was_revoked_stays_so_when_it_is_sent_again(client, alice):
    session = make_token(client, alice).json
    client.delete(f"{SESSIONS}/{session['id']}", headers=alice.headers)

    again = make_token(client, alice)

    assert again.json == session
    assert status_of(client, again.json["access_token"]) == 401


@pytest.mark.parametrize("end", [log_out_everywhere, change_password])
def test_token_of_an_older_epoch_is_not_renewed(client, alice, end):
    session = make_token(client, alice).json
    end(client, alice)
    password = "a quite different passphrase" if end is change_password else PASSWORD
    headers = bearer(log_in(client, password=password).json["access_token"])

    again = client.post(SESSIONS, json=TOKEN, headers={**headers, **KEY})

    assert again.json == session
    assert status_of(client, again.json["access_token"]) == 401


def test_of_simultaneous_requests_with_a_key_one_makes_a_token(app, alice):
    answers = together(*[lambda: make_token(app.test_client(), alice)] * 8)

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len(execute(app, "SELECT FROM sessions WHERE name IS NOT NULL")) == 1


def test_neither_token_nor_password_is_stored(app, client, alice):
    sign_up(client, headers=KEY)
    token = make_token(client, alice).json["access_token"]

    stored = str(execute(app, "SELECT * FROM idempotency_keys"))

    assert CAROL["email"] in stored
    assert not [part for part in (PASSWORD, "scrypt", *token.split(".")) if part in stored]


def test_without_a_key_each_request_makes_a_token(app, client, alice):
    for _ in range(2):
        make_script_token(client, alice)

    assert len(execute(app, "SELECT FROM sessions WHERE name IS NOT NULL")) == 2


def test_malformed_key_does_not_count_against_the_limit(share_app, alice):
    client = share_app(session_limit="1 per minute").test_client()

    refused = [make_token(client, alice, {"Idempotency-Key": ""}).status_code for _ in range(3)]

    assert (refused, make_token(client, alice).status_code) == ([422] * 3, 201)
