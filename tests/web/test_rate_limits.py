"""Rate limits by client address, in Redis or without it."""

import time
from uuid import UUID

import pytest

from books_api.auth import resets, users
from books_api.extensions import redis
from tests.conftest import PASSWORD, bearer
from tests.helpers import AUTH, CAROL, NEW_PASSWORD, REFRESH, log_in, together
from tests.processes import wait_until

ROUTES = {  # setting: method, path, body
    "signup_limit": ("POST", f"{AUTH}/signup", CAROL),
    "login_limit": (
        "POST",
        f"{AUTH}/login",
        {"email": "nobody@example.com", "password": "wrong password"},
    ),
    "password_reset_limit": (
        "POST",
        f"{AUTH}/password-reset",
        {"token": "forged", "new_password": PASSWORD},
    ),
    "refresh_limit": ("POST", REFRESH, None),
}


def send(client, route, address="192.0.2.1", **headers):
    """Send a request that counts."""
    method, path, body = route
    return client.open(
        path,
        method=method,
        json=body,
        environ_overrides={"REMOTE_ADDR": address},
        headers=headers,
    )


@pytest.fixture
def twice(share_app):
    """An application that takes two requests an hour on each limited route."""
    return share_app(**dict.fromkeys(ROUTES, "2 per hour")).test_client()


@pytest.mark.parametrize("route", [*ROUTES.values(), ("GET", REFRESH, None)])
def test_limited_route_refuses_what_is_too_much(twice, route):
    statuses = [send(twice, route).status_code for _ in range(4)]

    assert 429 not in statuses[:2]
    assert statuses[2:] == [429, 429]


@pytest.mark.parametrize("setting", ROUTES)
def test_each_limit_is_set_for_itself(share_app, setting):
    client = share_app(**{setting: "1 per hour"}).test_client()

    statuses = {name: [send(client, ROUTES[name]).status_code for _ in range(2)] for name in ROUTES}

    assert [name for name in ROUTES if 429 in statuses[name]] == [setting]


def test_several_limits_may_be_set_at_once(share_app):
    client = share_app(login_limit="2 per second; 3 per hour").test_client()

    statuses = [send(client, ROUTES["login_limit"]).status_code for _ in range(3)]

    assert statuses[1:] == [401, 429]


def test_429_says_when_to_come_again(twice):
    for _ in range(3):
        response = send(twice, ROUTES["login_limit"])

    assert response.content_type == "application/problem+json"
    assert 0 < int(response.headers["Retry-After"]) <= 3600
    assert response.json["title"] == "Too many requests"


def test_answers_below_the_limit_have_no_retry_after(twice, alice):
    answers = [
        twice.post(REFRESH, headers=bearer(alice.refresh_token)),
        send(twice, ROUTES["refresh_limit"]),
        send(twice, ROUTES["login_limit"]),
    ]

    assert [answer.status_code for answer in answers] == [200, 401, 401]
    assert not [answer for answer in answers if "Retry-After" in answer.headers]


def test_answers_tell_how_many_are_left(twice):
    answers = [send(twice, ROUTES["login_limit"]) for _ in range(3)]

    assert [answer.headers["RateLimit-Limit"] for answer in answers] == ["2"] * 3
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert all(0 < int(answer.headers["RateLimit-Reset"]) <= 3600 for answer in answers)


def test_route_without_a_limit_says_nothing_of_limits(twice, alice):
    response = twice.get(f"{AUTH}/sessions", headers=alice.headers)

    assert not [name for name in dict(response.headers) if "ratelimit" in name.lower()]


def test_limit_ends_with_its_window(share_app):
    client = share_app(login_limit="1 per second").test_client()

    for _ in range(100):
        response = send(client, ROUTES["login_limit"])
        if response.status_code == 429:
            break
    assert response.headers["Retry-After"] == "1"


def test_preflight_does_not_count(share_app):
    client = share_app(
        login_limit="1 per hour", cors_origins=("https://app.example",)
    ).test_client()
    for _ in range(3):
        client.options(
            f"{AUTH}/login",
            headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"},
        )

    assert send(client, ROUTES["login_limit"]).status_code == 401


def test_requests_at_once_are_all_counted(share_app):
    app = share_app(password_reset_limit="5 per hour")

    answers = together(*[lambda: send(app.test_client(), ROUTES["password_reset_limit"])] * 8)

    assert sorted(answer.status_code for answer in answers) == [422] * 5 + [429] * 3


# What does not count.


@pytest.mark.parametrize(
    ("setting", "request_", "status"),
    [
        ("signup_limit", {"data": "username=carol"}, 415),
        ("signup_limit", {"data": "{", "content_type": "application/json"}, 400),
        ("signup_limit", {"json": {**CAROL, "email": "carol"}}, 422),
        ("signup_limit", {"json": {**CAROL, "password": "password1"}}, 422),
        ("login_limit", {"json": {"email": "nobody@example.com"}}, 422),
        ("password_reset_limit", {"json": {"token": "forged"}}, 422),
    ],
)
def test_request_refused_before_it_does_anything_does_not_count(twice, setting, request_, status):
    method, path, _ = ROUTES[setting]
    address = {"REMOTE_ADDR": "192.0.2.1"}

    statuses = [
        twice.open(path, method=method, environ_overrides=address, **request_).status_code
        for _ in range(10)
    ]

    assert statuses == [status] * 10
    assert send(twice, ROUTES[setting]).status_code != 429


def test_weak_new_password_does_not_use_up_resets(app, twice, alice):
    with app.app_context():
        token = resets.make_reset_token(users.get_user(UUID(alice.id)))
    method, path, _ = ROUTES["password_reset_limit"]
    weak, strong = ({"token": token, "new_password": p} for p in ("password1", NEW_PASSWORD))

    statuses = [send(twice, (method, path, body)).status_code for body in (weak, weak, strong)]

    assert statuses == [422, 422, 204]


# Addresses.


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8:0:1::1", "2001:db8:0:2::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("192.0.2.1", "2001:db8::1"),
    ],
)
def test_limit_of_one_address_is_not_anothers(twice, first, second):
    for _ in range(3):
        send(twice, ROUTES["login_limit"], first)

    assert send(twice, ROUTES["login_limit"], second).status_code != 429


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1::2"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"),
        ("2001:db8:0:1::1", "2001:0DB8:0000:0001::0001"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("fe80::1%eth0", "fe80::2%eth0"),
    ],
)
def test_addresses_of_one_client_share_a_limit(twice, first, second):
    send(twice, ROUTES["login_limit"], first)
    send(twice, ROUTES["login_limit"], second)

    assert send(twice, ROUTES["login_limit"], first).status_code == 429


@pytest.mark.parametrize("address", ["", "unix:", "localhost", "999.1.1.1", "\u00e9", "[::1]:80"])
def test_address_that_is_none_is_limited_too(twice, address):
    statuses = [send(twice, ROUTES["login_limit"], address).status_code for _ in range(3)]

    assert statuses == [401, 401, 429]


def test_forged_address_is_not_believed_without_a_proxy(twice):
    statuses = [
        send(
            twice,
            ROUTES["login_limit"],
            **{
                "X-Forwarded-For": f"198.51.100.{i}",
                "X-Real-IP": "1.2.3.4",
                "Forwarded": f"for={i}",
            },
        ).status_code
        for i in range(3)
    ]

    assert statuses[2] == 429


@pytest.fixture
def behind_proxy(share_app):
    """As `twice`, behind one proxy, which has the address 127.0.0.1."""
    limits = dict.fromkeys(ROUTES, "2 per hour")
    return share_app(trusted_proxies=1, **limits).test_client()


def send_by_proxy(client, forwarded_for):
    return send(client, ROUTES["login_limit"], "127.0.0.1", **{"X-Forwarded-For": forwarded_for})


def test_clients_behind_the_proxy_have_their_own_limits(behind_proxy):
    for _ in range(3):
        send_by_proxy(behind_proxy, "198.51.100.1")

    assert send_by_proxy(behind_proxy, "198.51.100.1").status_code == 429
    assert send_by_proxy(behind_proxy, "198.51.100.2").status_code != 429


def test_address_that_the_client_sends_through_the_proxy_is_not_believed(behind_proxy):
    statuses = [
        send_by_proxy(behind_proxy, f"203.0.113.{i}, 198.51.100.1").status_code for i in range(3)
    ]

    assert statuses[2] == 429


def test_security_event_has_the_address_that_the_proxy_saw(share_app, events):
    client = share_app(trusted_proxies=1).test_client()

    client.post(
        f"{AUTH}/login",
        json={"email": "nobody@example.com", "password": "wrong password"},
        headers={"X-Forwarded-For": "203.0.113.1, 198.51.100.1"},
    )

    assert [event["address"] for event in events("login_failed")] == ["198.51.100.1"]


# Redis is away.


def test_limits_hold_while_redis_is_away(twice, redis_server):
    redis_server.kill()

    statuses = [send(twice, ROUTES["login_limit"]).status_code for _ in range(3)]

    assert statuses == [401, 401, 429]


def test_limits_hold_when_redis_goes_in_between(twice, redis_server):
    first = send(twice, ROUTES["login_limit"]).status_code
    redis_server.kill()
    statuses = [send(twice, ROUTES["login_limit"]).status_code for _ in range(3)]

    assert (first, statuses) == (401, [401, 401, 429])


def test_login_works_while_redis_is_away(app, client, alice, redis_server):
    redis_server.kill()

    assert log_in(client, alice.email).status_code == 200


def test_no_request_fails_when_many_find_redis_silent_at_once(share_app, silent_redis):
    app = share_app(password_reset_limit="100 per hour")

    answers = together(*[lambda: send(app.test_client(), ROUTES["password_reset_limit"])] * 8)

    assert [answer.status_code for answer in answers] == [422] * 8


def test_redis_that_is_silent_is_asked_once_a_second(twice, silent_redis):
    send(twice, ROUTES["password_reset_limit"])
    began = time.monotonic()

    send(twice, ROUTES["password_reset_limit"])

    assert time.monotonic() - began < 0.2  # its time-out is 0.25 s, and it is asked twice


def test_redis_that_is_back_counts_again(app, twice, redis_server):
    redis_server.kill()
    send(twice, ROUTES["login_limit"])
    redis_server.start()

    def counted():
        send(twice, ROUTES["login_limit"])
        with app.app_context():
            return list(redis.client.scan_iter("*LIMITER*"))

    wait_until(counted, 5)
