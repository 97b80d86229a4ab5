"""Wrong passwords: what they are counted by, and that their count locks no owner out."""

import threading
import time

import pytest
import time_machine

from books_api.auth import lockout, passwords
from books_api.extensions import redis
from tests.conftest import NEVER, PASSWORD, bearer
from tests.helpers import AUTH, NEW_PASSWORD, fail_to_log_in, log_in, reset_password, together

HOME, AWAY = "192.0.2.1", "198.51.100.1"
CONFIRMATIONS = [
    ("PATCH", "/me", {"email": "new@example.com", "current_password": "wrong password"}),
    ("DELETE", "/me", {"current_password": "wrong password"}),
    ("POST", "/password", {"current_password": "wrong password", "new_password": NEW_PASSWORD}),
]


@pytest.fixture
def strict(share_app):
    """An application that takes one wrong password an hour by account and address."""
    return share_app(login_account_limit="1 per hour").test_client()


@pytest.fixture
def strict_in_all(share_app):
    """An application that takes two wrong passwords an hour for an account."""
    return share_app(login_account_total_limit="2 per hour").test_client()


def confirm(client, token, confirmation, address=HOME, **changes):
    method, path, body = confirmation
    return client.open(
        f"{AUTH}{path}",
        method=method,
        json={**body, **changes},
        headers=bearer(token),
        environ_overrides={"REMOTE_ADDR": address},
    )


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com"])
def test_account_is_limited_at_an_address(strict, alice, email):
    fail_to_log_in(strict, email)

    response = fail_to_log_in(strict, email)

    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 3600
    assert response.headers["RateLimit-Remaining"] == "0"


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com"])
def test_account_is_limited_whatever_the_address(strict_in_all, alice, email):
    statuses = [fail_to_log_in(strict_in_all, email, f"192.0.2.{i}").status_code for i in range(3)]

    assert statuses == [401, 401, 429]


@pytest.mark.parametrize(
    ("email", "spelling"),
    [
        ("iris@example.com", "IRIS@example.com"),
        ("iris@example.com", "\u0130ris@example.com"),  # lower() finds iris, casefold() does not
        ("stra\u00dfe@example.com", "STRA\u1e9eE@example.com"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_account_is_limited_whatever_the_spelling(
    strict, make_user, password_hash, email, spelling, exists
):
    if exists:
        make_user(email=email)
    fail_to_log_in(strict, email)

    assert fail_to_log_in(strict, spelling).status_code == 429


def test_account_that_is_limited_refuses_the_right_password_too(strict, alice):
    fail_to_log_in(strict, alice.email)

    assert log_in(strict, alice.email).status_code == 429


def test_limit_of_one_account_is_not_anothers(strict, alice, bob):
    fail_to_log_in(strict, alice.email)

    assert log_in(strict, bob.email).status_code == 200


def test_id_in_place_of_the_email_does_not_count_for_the_account(strict, alice):
    fail_to_log_in(strict, alice.id)

    assert log_in(strict, alice.email).status_code == 200


@pytest.mark.parametrize("setting", ["login_account_limit", "login_account_total_limit"])
def test_right_passwords_do_not_count(share_app, alice, setting):
    client = share_app(**{setting: "1 per hour"}).test_client()

    statuses = [log_in(client, alice.email).status_code for _ in range(6)]

    assert statuses == [200] * 6


def test_wrong_passwords_sent_at_once_are_all_counted(share_app, alice):
    app = share_app(login_account_limit="2 per hour")

    answers = together(*[lambda: fail_to_log_in(app.test_client(), alice.email)] * 4)

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [401, 401, 429, 429]


# Confirmations of the password of a session's user.


@pytest.mark.parametrize("second", CONFIRMATIONS)
@pytest.mark.parametrize("first", CONFIRMATIONS)
def test_confirmations_share_one_limit_in_all_sessions(strict, alice, open_session, first, second):
    statuses = [
        confirm(strict, token, confirmation, address).status_code
        for token, confirmation, address in (
            (alice.access_token, first, HOME),
            (open_session(alice).access_token, second, AWAY),
        )
    ]

    assert statuses == [422, 429]


def test_wrong_confirmations_count_for_logins(strict, alice):
    confirm(strict, alice.access_token, CONFIRMATIONS[0])

    assert fail_to_log_in(strict, alice.email).status_code == 429


def test_right_confirmations_do_not_count(strict, alice):
    statuses = [
        confirm(strict, alice.access_token, CONFIRMATIONS[0], current_password=PASSWORD).status_code
        for _ in range(3)
    ]

    assert statuses == [200] * 3


def test_changes_without_a_password_do_not_count(strict, alice):
    statuses = [
        strict.patch(f"{AUTH}/me", json={"first_name": "Ada"}, headers=alice.headers).status_code
        for _ in range(3)
    ]

    assert statuses == [200] * 3


def test_weak_new_password_does_not_count(strict, alice):
    weak = {"current_password": PASSWORD, "new_password": "password1"}

    statuses = [
        confirm(strict, alice.access_token, ("POST", "/password", weak)).status_code
        for _ in range(3)
    ]

    assert statuses == [422] * 3


# Nobody locks the owner out.


def exhaust(client, email):
    """Send wrong passwords from many addresses until they are refused from any."""
    statuses = [fail_to_log_in(client, email, f"203.0.113.{i // 8}").status_code for i in range(40)]
    assert statuses[-1] == 429


@pytest.fixture
def small(share_app):
    """An application with small limits of wrong passwords."""
    return share_app(
        login_account_limit="2 per hour", login_account_total_limit="5 per hour"
    ).test_client()


def test_strangers_do_not_lock_the_owner_out_at_an_address_of_the_owners(small, alice):
    log_in(small, alice.email, PASSWORD, HOME)
    exhaust(small, alice.email)

    assert log_in(small, alice.email, PASSWORD, HOME).status_code == 200
    assert log_in(small, alice.email, PASSWORD, AWAY).status_code == 429


def test_an_address_of_an_ipv6_network_of_the_owners_is_known(small, alice):
    log_in(small, alice.email, PASSWORD, "2001:db8::1")
    exhaust(small, alice.email)

    assert log_in(small, alice.email, PASSWORD, "2001:db8::2").status_code == 200


def test_one_network_alone_does_not_lock_out_others(small, alice):
    for _ in range(20):
        fail_to_log_in(small, alice.email, AWAY)

    assert log_in(small, alice.email, PASSWORD, HOME).status_code == 200


def test_more_wrong_passwords_are_taken_at_an_address_of_the_owners_and_not_endless(small, alice):
    log_in(small, alice.email)

    statuses = [fail_to_log_in(small, alice.email).status_code for _ in range(7)]

    assert statuses == [401] * 5 + [429] * 2


@pytest.mark.parametrize("confirmation", CONFIRMATIONS)
def test_strangers_do_not_lock_a_session_out(small, alice, confirmation):
    exhaust(small, alice.email)

    response = confirm(small, alice.access_token, confirmation, current_password=PASSWORD)

    assert response.status_code == (204 if confirmation[0] == "DELETE" else 200)


def test_reset_of_the_password_makes_the_address_known(small, alice, make_reset_token):
    reset_password(small, make_reset_token(alice), environ_overrides={"REMOTE_ADDR": HOME})
    exhaust(small, alice.email)

    assert log_in(small, alice.email, NEW_PASSWORD, HOME).status_code == 200


def test_wrong_password_makes_no_address_known(small, alice):
    fail_to_log_in(small, alice.email, HOME)
    exhaust(small, alice.email)

    assert log_in(small, alice.email, PASSWORD, HOME).status_code == 429


def test_address_of_one_account_is_not_known_to_another(small, alice, bob):
    log_in(small, bob.email, PASSWORD, HOME)
    exhaust(small, alice.email)

    assert log_in(small, alice.email, PASSWORD, HOME).status_code == 429


def test_only_the_last_addresses_are_known(share_app, alice):
    app = share_app(login_account_total_limit="1 per hour")
    client = app.test_client()
    addresses = [f"192.0.2.{i}" for i in range(lockout.KNOWN_NETWORKS + 1)]
    for address in addresses:
        log_in(client, alice.email, PASSWORD, address)
    fail_to_log_in(client, alice.email, AWAY)

    assert log_in(client, alice.email, PASSWORD, addresses[0]).status_code == 429
    assert log_in(client, alice.email, PASSWORD, addresses[-1]).status_code == 200


def test_address_is_forgotten_in_the_end(small, alice):
    log_in(small, alice.email, PASSWORD, HOME)

    with time_machine.travel(time.time() + lockout.KNOWN_SECONDS + 60):
        exhaust(small, alice.email)
        assert log_in(small, alice.email, PASSWORD, HOME).status_code == 429


def test_lost_memory_of_redis_makes_the_limits_strict_again(app, small, alice):
    log_in(small, alice.email, PASSWORD, HOME)
    with app.app_context():
        redis.client.flushall()
    exhaust(small, alice.email)

    assert log_in(small, alice.email, PASSWORD, HOME).status_code == 429


def test_redis_tells_neither_email_nor_address_of_an_account(app, share_app, alice):
    client = share_app(login_limit=NEVER).test_client()
    fail_to_log_in(client, alice.email)
    log_in(client, alice.email)

    with app.app_context():
        keys = list(redis.client.scan_iter())
        known = [key for key in keys if "networks" in key]
        members = [member for key in known for member in redis.client.zrange(key, 0, -1)]
    assert not [key for key in keys if "alice" in key]
    assert len(members) == 1
    assert "192.0.2.1" not in members[0]


def test_tries_that_check_no_password_leave_no_count(app, client, alice, monkeypatch):
    monkeypatch.setattr(passwords, "_admission", threading.BoundedSemaphore(1))
    with passwords._admission:
        statuses = [fail_to_log_in(client, f"{i}@example.com").status_code for i in range(3)]

    assert statuses == [503] * 3
    with app.app_context():
        assert not list(redis.client.scan_iter("*login_account*"))


# Redis is away.


def test_account_limit_holds_while_redis_is_away(strict, alice, redis_server):
    redis_server.kill()

    statuses = [fail_to_log_in(strict, alice.email).status_code for _ in range(2)]

    assert statuses == [401, 429]


def test_right_passwords_do_not_count_while_redis_is_away(strict, alice, redis_server):
    redis_server.kill()

    statuses = [log_in(strict, alice.email).status_code for _ in range(3)]

    assert statuses == [200] * 3
