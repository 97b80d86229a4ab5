"""Login: what it answers, and what it does not tell."""

import importlib.util
from statistics import median
from time import thread_time

import pytest
from werkzeug.security import generate_password_hash

from books_api.auth import passwords
from tests.conftest import PASSWORD
from tests.helpers import (
    AUTH,
    claims_of,
    exceptions,
    execute,
    get_me,
    log_in,
    log_out_everywhere,
    released_together,
    snapshot,
    status_of,
)

OUTDATED = "pbkdf2:sha256:1000"


def test_login_answers_as_the_contract_says(client, alice):
    response = log_in(client)

    assert response.status_code == 200
    tokens = {"access_token", "refresh_token", "token_type", "expires_in"}
    assert response.json.keys() == {"message", "user"} | tokens
    assert response.json["user"] == {
        "uid": alice.id,
        "email": "alice@example.com",
        "username": "alice",
    }


def test_tokens_carry_the_claims_of_the_contract(client, alice):
    answer = log_in(client).json

    common = {"sub", "jti", "sid", "epoch", "role", "type", "iss", "aud", "iat", "exp"}
    access, refresh = claims_of(answer["access_token"]), claims_of(answer["refresh_token"])
    assert common <= access.keys()
    assert common <= refresh.keys()
    assert (access["sub"], access["role"], access["type"]) == (alice.id, "user", "access")
    assert (refresh["sid"], refresh["type"]) == (access["sid"], "refresh")
    assert refresh["jti"] != access["jti"]


def test_tokens_say_nothing_of_the_person(client, alice):
    answer = log_in(client).json

    for name in ("access_token", "refresh_token"):
        claims = str(claims_of(answer[name]))
        assert "alice" not in claims
        assert "csrf" not in claims


def test_access_token_is_good_for_15_minutes_and_refresh_token_for_7_days(client, alice):
    answer = log_in(client).json

    access, refresh = claims_of(answer["access_token"]), claims_of(answer["refresh_token"])
    assert access["exp"] - access["iat"] == pytest.approx(15 * 60, abs=1)
    assert refresh["exp"] - refresh["iat"] == pytest.approx(7 * 86400, abs=1)


@pytest.mark.parametrize("email", ["éLODIE@EXAMPLE.com", "e\u0301lodie@example.com"])
def test_email_is_taken_in_any_case_and_unicode_form(client, make_user, email):
    make_user(email="Élodie@example.com")

    assert log_in(client, email).status_code == 200


def test_each_login_opens_its_own_session(client, alice):
    first, second = log_in(client).json, log_in(client).json

    assert claims_of(first["access_token"])["sid"] != claims_of(second["access_token"])["sid"]


def test_session_keeps_a_printable_user_agent_of_limited_length(app, client, alice):
    log_in(client, headers={"User-Agent": "curl\x1b[2J\t" + "x" * 500})

    (stored,) = execute(app, "SELECT user_agent FROM sessions WHERE user_agent <> 'tests'")
    assert stored.user_agent == ("curl[2J" + "x" * 500)[:200]


@pytest.fixture
def refusals(client, make_user, full_strength):
    """The tries that must look alike, by what is wrong."""
    make_user(email="active@example.com", password_hash=full_strength)
    make_user(email="inactive@example.com", password_hash=full_strength, is_active=False)
    return {
        "unknown": lambda: log_in(client, "nobody@example.com"),
        "wrong password": lambda: log_in(client, "active@example.com", PASSWORD + "!"),
        "inactive": lambda: log_in(client, "inactive@example.com"),
    }


def test_refusals_look_the_same(refusals):
    answers = [refuse() for refuse in refusals.values()]

    assert {answer.status_code for answer in answers} == {401}
    assert len({str(sorted({**answer.json, "request_id": ""}.items())) for answer in answers}) == 1
    varying = ("X-Request-ID", "RateLimit-Remaining", "RateLimit-Reset", "Content-Length")
    headers = [{k: v for k, v in answer.headers.items() if k not in varying} for answer in answers]
    assert headers[1:] == headers[:-1]


@pytest.mark.long
def test_refusals_take_the_same_time(refusals):
    seconds = {name: [] for name in refusals}

    for _ in range(4):
        for name, refuse in refusals.items():
            start = thread_time()  # what it works, however busy the machine is
            refuse()
            seconds[name].append(thread_time() - start)

    medians = [median(values) for values in seconds.values()]
    assert max(medians) < 1.4 * min(medians), seconds


@pytest.mark.long
def test_first_try_at_an_unknown_email_in_a_process_takes_no_longer():
    spec = importlib.util.find_spec(passwords.__name__)
    fresh = importlib.util.module_from_spec(spec)  # as a process has it that has just begun
    spec.loader.exec_module(fresh)
    seconds = []

    for _ in range(3):
        start = thread_time()
        fresh.verify_password(None, PASSWORD)
        seconds.append(thread_time() - start)

    assert seconds[0] < 1.5 * median(seconds[1:]), seconds


def test_refusal_changes_nothing(app, client, alice):
    before = snapshot(app)

    log_in(client, password="wrong password")

    assert snapshot(app) == before


MALFORMED = [
    {},
    {"email": "alice@example.com"},
    {"password": PASSWORD},
    {"email": None, "password": None},
    {"email": ["alice@example.com"], "password": PASSWORD},
    {"email": {"$ne": ""}, "password": {"$ne": ""}},
    {"email": "alice@example.com", "password": True},
    {"email": "alice@example.com\0", "password": PASSWORD},
    {"email": "alice@example.com", "password": PASSWORD + "\0"},
    {"email": "alice@example.com", "password": "x" * 129},
    {"email": "x" * 255, "password": PASSWORD},
    {"email": "alice@example.com", "password": ""},
    {"email": "alice@example.com", "password": PASSWORD, "role": "admin"},
    {"email": "alice@example.com", "password": PASSWORD, "remember_me": True},
]


def test_malformed_credentials_are_refused_before_they_are_tried(client, alice):
    def status_of(body):
        return client.post(f"{AUTH}/login", json=body).status_code

    assert exceptions(422, status_of, MALFORMED) == {}


@pytest.mark.parametrize("email", ["' OR 1=1 --", "alice@example.com' --", "%", "alice%", "_"])
def test_email_is_never_a_pattern_nor_sql(client, alice, email):
    assert log_in(client, email).status_code == 401


def test_login_of_a_reactivated_user_works(app, client, make_user):
    make_user(email="back@example.com", is_active=False)
    execute(app, "UPDATE users SET is_active = true")

    response = log_in(client, "back@example.com")

    assert get_me(client, response.json["access_token"]).status_code == 200


def test_hash_of_an_older_strength_is_renewed(app, client, make_user):
    make_user(email="old@example.com", password_hash=generate_password_hash(PASSWORD, OUTDATED))

    log_in(client, "old@example.com")

    ((stored,),) = execute(app, "SELECT password_hash FROM users")
    assert stored.startswith(f"{passwords.METHOD}$")
    assert log_in(client, "old@example.com").status_code == 200


def test_hash_of_an_older_strength_is_not_renewed_by_a_wrong_password(app, client, make_user):
    old = generate_password_hash(PASSWORD, OUTDATED)
    make_user(email="old@example.com", password_hash=old)

    log_in(client, "old@example.com", "wrong password")

    assert execute(app, "SELECT password_hash FROM users") == [(old,)]


def test_renewing_the_hash_ends_no_session(app, client, make_user):
    old = make_user(
        email="old@example.com", password_hash=generate_password_hash(PASSWORD, OUTDATED)
    )

    log_in(client, "old@example.com")

    assert get_me(client, old.access_token).status_code == 200


def test_two_logins_that_renew_a_hash_at_once_both_succeed(app, make_user, servers):
    make_user(email="old@example.com", password_hash=generate_password_hash(PASSWORD, OUTDATED))

    answers = released_together(
        servers,
        "SELECT FROM users FOR UPDATE",
        lambda: log_in(app.test_client(), "old@example.com"),
        lambda: log_in(app.test_client(), "old@example.com"),
    )

    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("change", ["password_hash = 'changed'", "is_active = false"])
def test_login_that_races_with_a_new_password_or_deactivation_is_refused(
    app, alice, servers, change
):
    statement = f"UPDATE users SET {change}, token_epoch = token_epoch + 1"

    (answer,) = released_together(
        servers, statement, lambda: log_in(app.test_client()), commit=True
    )

    assert answer.status_code == 401


def test_login_raises_an_epoch_that_postgres_has_lost(app, client, alice):
    log_out_everywhere(client, alice)
    execute(app, "UPDATE users SET token_epoch = 0")  # as a standby knows it that is late
    execute(app, "DELETE FROM revocations")

    token = log_in(client).json["access_token"]

    assert [status_of(client, each) for each in (token, alice.access_token)] == [200, 401]
