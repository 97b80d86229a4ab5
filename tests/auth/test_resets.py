"""Reset tokens: once, for 24 hours, until something else happens to the account."""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import time_machine
from itsdangerous import URLSafeTimedSerializer

from books_api.auth import resets, users
from books_api.derived_keys import hkdf
from tests.conftest import KEY, PASSWORD
from tests.helpers import (
    AUTH,
    ME,
    NEW_PASSWORD,
    change_password,
    execute,
    get_me,
    log_in,
    pointers_of,
    released_together,
    reset_password,
    snapshot,
)

OTHER_KEY = KEY[::-1]


def patch_me(client, account, **values):
    return client.patch(ME, json=values, headers=account.headers)


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

    assert (response.status_code, pointers_of(response)) == (422, ["/token"])
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
        resets.make_reset_token(users.get_user(UUID(alice.id)))


def expired_by_new_email(app, client, alice):
    patch_me(client, alice, email="new@example.com", current_password=PASSWORD)


def expired_by_deactivation(app, client, alice):
    execute(app, "UPDATE users SET is_active = false")


def expired_by_deletion(app, client, alice):
    execute(app, "DELETE FROM users")


@pytest.mark.parametrize(
    "event",
    [
        *(expired_by_new_password, expired_by_logout_everywhere, expired_by_a_newer_one),
        *(expired_by_new_email, expired_by_deactivation, expired_by_deletion),
    ],
)
def test_reset_token_is_dead_after(app, client, alice, reset_token, event):
    event(app, client, alice)

    response = reset_password(client, reset_token, "yet another passphrase")

    assert (response.status_code, pointers_of(response)) == (422, ["/token"])


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

    assert (response.status_code, pointers_of(response)) == (422, ["/token"])
    assert snapshot(app) == before


def test_reset_token_is_no_bearer_token(client, reset_token):
    assert get_me(client, reset_token).status_code == 401


def test_refused_reset_tokens_look_the_same(client, make_user, make_reset_token):
    inactive = make_reset_token(make_user(is_active=False))
    tokens = [inactive, signed([str(uuid4()), 0, 1]), "nonsense"]

    answers = [reset_password(client, token) for token in tokens]

    assert len({str({**answer.json, "request_id": ""}) for answer in answers}) == 1


def test_reset_token_of_the_old_key_works_while_it_verifies(make_app, alice, reset_token):
    client = make_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    assert reset_password(client, reset_token).status_code == 204
