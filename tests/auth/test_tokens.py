"""Tokens when the key that signs them changes."""

import hmac

import jwt

from tests.conftest import KEY
from tests.helpers import claims_of, forge, rotate, status_of

OTHER_KEY = KEY[::-1]


def test_token_names_its_key_and_tells_nothing_of_it(client, alice):
    kid = jwt.get_unverified_header(alice.access_token)["kid"]

    assert kid
    assert kid not in KEY


def test_new_key_logs_nobody_out_while_the_old_one_verifies(share_app, alice):
    client = share_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    assert status_of(client, alice.access_token) == 200
    pair = rotate(client, alice.refresh_token).json
    assert status_of(client, pair["access_token"]) == 200


def test_token_of_the_old_key_with_the_id_of_version_1_0_0_is_taken(share_app, alice):
    kid = hmac.digest(KEY.encode(), b"kid", "sha256").hex()[:8]
    client = share_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    assert status_of(client, forge(alice.access_token, headers={"kid": kid})) == 200


def test_new_key_signs_what_is_issued(client, share_app, alice):
    new = share_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    pair = rotate(new, alice.refresh_token).json

    only_new = share_app(jwt_secret_key=OTHER_KEY).test_client()
    assert status_of(only_new, pair["access_token"]) == 200
    assert status_of(client, pair["access_token"]) == 401


def test_lost_answer_is_found_again_after_the_key_has_changed(client, share_app, alice):
    before = rotate(client, alice.refresh_token).json
    new = share_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY).test_client()

    after = rotate(new, alice.refresh_token).json

    assert claims_of(after["refresh_token"])["jti"] == claims_of(before["refresh_token"])["jti"]


def test_old_key_without_the_setting_verifies_nothing(share_app, alice):
    client = share_app(jwt_secret_key=OTHER_KEY).test_client()

    assert status_of(client, alice.access_token) == 401


def test_old_key_does_not_verify_what_claims_the_new_one(client, share_app, alice):
    app = share_app(jwt_secret_key=OTHER_KEY, jwt_secret_key_previous=KEY)
    kid = jwt.get_unverified_header(
        rotate(app.test_client(), alice.refresh_token).json["access_token"]
    )["kid"]
    forged = forge(alice.access_token, key=KEY, headers={"kid": kid})

    assert status_of(app.test_client(), forged) == 401
