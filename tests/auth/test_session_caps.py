"""How many sessions a user may have at once, and how often they are opened and ended."""

import pytest

from tests.conftest import bearer
from tests.helpers import (
    AUTH,
    NOBODY,
    SESSIONS,
    claims_of,
    execute,
    log_in,
    make_script_token,
    released_together,
    status_of,
    together,
)

LOCK_USERS = "SELECT 1 FROM users FOR UPDATE"


def count_live(app, *, scripts=False):
    kind = "name IS NOT NULL" if scripts else "name IS NULL"
    [(count,)] = execute(app, f"SELECT count(*) FROM sessions WHERE {kind}")
    return count


@pytest.fixture
def capped(share_app):
    """An application with caps of two logins and two tokens for scripts."""
    return share_app(logins_per_user=2, script_tokens_per_user=2)


def test_oldest_login_makes_room_and_its_tokens_are_refused_at_once(app, capped, alice):
    client = capped.test_client()
    second, third = (log_in(client, alice.email).json for _ in range(2))

    assert count_live(app) == 2
    assert [
        status_of(client, token)
        for pair in ([alice.access_token, alice.refresh_token], second, third)
        for token in (pair if isinstance(pair, list) else tokens_of(pair))
    ] == [401, 401, 200, 200, 200, 200]


def tokens_of(answer):
    return answer["access_token"], answer["refresh_token"]


def test_login_makes_room_of_the_users_own_only(capped, alice, bob):
    client = capped.test_client()
    for _ in range(3):
        log_in(client, alice.email)

    assert status_of(client, bob.access_token) == 200


def test_login_ends_no_token_of_a_script(capped, alice):
    client = capped.test_client()
    script = make_script_token(client, alice).json["access_token"]
    for _ in range(3):
        log_in(client, alice.email)

    assert status_of(client, script) == 200


def test_expired_logins_are_not_counted(app, capped, alice, open_session):
    open_session(alice)
    execute(app, "UPDATE sessions SET expires_at = now() WHERE id != :id", id=sid(alice))

    log_in(capped.test_client(), alice.email)

    assert status_of(capped.test_client(), alice.access_token) == 200


def sid(account):
    return claims_of(account.access_token)["sid"]


def test_lower_cap_ends_what_is_over_it(app, share_app, alice, open_session):
    for _ in range(5):
        open_session(alice)

    log_in(share_app(logins_per_user=1).test_client(), alice.email)

    assert count_live(app) == 1


def test_cap_is_not_exceeded_by_logins_at_once(app, servers, capped, alice):
    def login():
        return log_in(capped.test_client(), alice.email)

    answers = released_together(servers, LOCK_USERS, login, login, login)

    assert [answer.status_code for answer in answers] == [200] * 3
    assert count_live(app) == 2


def test_login_that_makes_room_is_refused_while_redis_cannot_revoke(
    app, capped, alice, redis_server, open_session
):
    open_session(alice)
    redis_server.kill()

    response = log_in(capped.test_client(), alice.email)

    assert response.status_code == 503
    assert count_live(app) == 2


def test_token_over_the_cap_is_refused_with_the_reason(app, capped, alice):
    client = capped.test_client()

    answers = [make_script_token(client, alice) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert "2 tokens for scripts" in answers[-1].json["detail"]
    assert count_live(app, scripts=True) == 2


def test_ended_token_makes_room_for_another(capped, alice):
    client = capped.test_client()
    for _ in range(3):
        response = make_script_token(client, alice)
    listed = client.get(SESSIONS, headers=alice.headers).json
    client.delete(f"{SESSIONS}/{listed[0]['id']}", headers=alice.headers)

    response = make_script_token(client, alice)

    assert response.status_code == 201


def test_cap_is_not_exceeded_by_tokens_at_once(app, servers, capped, alice):
    def create():
        return make_script_token(capped.test_client(), alice)

    answers = released_together(servers, LOCK_USERS, create, create, create)

    assert sorted(answer.status_code for answer in answers) == [201, 201, 409]
    assert count_live(app, scripts=True) == 2


def test_sessions_that_have_ended_leave_no_row(app, client, alice, open_session):
    for path in ("/logout", "/logout-all"):
        client.post(f"{AUTH}{path}", headers=bearer(open_session(alice).access_token))

    assert execute(app, "SELECT FROM sessions") == []


# How often.


@pytest.fixture
def twice(share_app):
    return share_app(session_limit="2 per hour")


def test_tokens_made_and_sessions_ended_share_a_limit_by_user(twice, alice, bob):
    client = twice.test_client()

    def make(account, address):
        return client.post(
            SESSIONS,
            json={"name": "backup", "expires_in_days": 30, "read_only": True},
            headers=account.headers,
            environ_overrides={"REMOTE_ADDR": address},
        )

    first = make(alice, "192.0.2.1")
    url = f"{SESSIONS}/{first.json['id']}"

    assert first.status_code == 201
    assert client.delete(url, headers=alice.headers).status_code == 204
    assert make(alice, "192.0.2.2").status_code == 429
    assert client.delete(f"{SESSIONS}/{sid(alice)}", headers=alice.headers).status_code == 429
    assert make(bob, "192.0.2.1").status_code == 201


def test_malformed_request_for_a_token_does_not_count(twice, alice):
    client = twice.test_client()

    statuses = [
        client.post(SESSIONS, json=body, headers=alice.headers).status_code
        for body in ({}, {}, {}, {"name": "backup", "expires_in_days": 30, "read_only": True})
    ]

    assert statuses == [422, 422, 422, 201]


def test_logins_have_as_many(twice, alice):
    statuses = [log_in(twice.test_client(), alice.email).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]


def test_token_that_ends_sessions_without_a_pause_keeps_no_owner_from_logging_in(twice, alice):
    client = twice.test_client()
    url = f"{SESSIONS}/{NOBODY}"

    statuses = [client.delete(url, headers=alice.headers).status_code for _ in range(3)]

    assert statuses == [404, 404, 429]
    assert log_in(client, alice.email).status_code == 200


def test_limit_by_user_holds_for_requests_at_once(twice, alice):
    def create():
        return make_script_token(twice.test_client(), alice)

    answers = together(*[create] * 5)

    assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429, 429]
