"""Which passwords are taken, how they are hashed, and how many at once."""

import unicodedata
from statistics import median
from time import perf_counter

import pytest

from books_api.auth import passwords
from books_api.auth.exceptions import TooBusy, WeakPassword
from books_api.auth.schemas import SignupSchema
from tests.conftest import PASSWORD, bearer
from tests.helpers import (
    AUTH,
    NEW_PASSWORD,
    change_password,
    claims_of,
    exceptions,
    execute,
    fail_to_log_in,
    log_in,
    pointers_of,
    rotate,
    sign_up,
    snapshot,
    status_of,
    together,
)

PERSON = {"username": "Ada.Lovelace", "email": "countess@example.com"}


def answer_to_signup(client):
    """Return what says how a sign-up with a password is answered."""

    def answer_to(password):
        response = sign_up(client, **PERSON, password=password)
        return response.status_code, pointers_of(response)

    return answer_to


def test_password_that_is_common_or_ones_name_or_out_of_form_is_refused(app, client):
    refused = [
        *("password", "12345678", "123456789", "qwertyuiop", "iloveyou", "trustno1", "11111111"),
        *("PASSWORD", "Password1", "sunshine", "football"),
        *("Ada.Lovelace", "ada.lovelace", "ADA.LOVELACE", "countess"),
        *("countess@example.com", "Countess@Example.Com"),
        *("x", "seven77", "e\u0301" * 7, "x" * 129, "long enough\0"),
        *(None, 12345678, ["long enough"]),
    ]

    assert exceptions((422, ["/password"]), answer_to_signup(client), refused) == {}
    assert execute(app, "SELECT FROM users") == []


def test_a_name_of_the_service_or_its_organisation_is_refused(share_app):
    client = share_app(password_words=("acme",)).test_client()
    refused = ["books-api", "Books API 2026", "Catalogue!", "Acme1234"]

    assert exceptions((422, ["/password"]), answer_to_signup(client), refused) == {}


def test_username_as_password_is_refused_in_any_unicode_form():
    username = unicodedata.normalize("NFC", "Éléonoré")

    with pytest.raises(WeakPassword):
        passwords.check_password_strength(
            unicodedata.normalize("NFD", username).upper(), username=username, email="e@example.com"
        )


@pytest.mark.parametrize("escaped", [r"\ud800", r"long enough \udfff"])
def test_password_with_a_lone_surrogate_is_refused(client, escaped):
    body = f'{{"username": "ada", "email": "ada@example.com", "password": "{escaped}"}}'

    response = client.post(f"{AUTH}/signup", data=body, content_type="application/json")

    assert response.status_code == 400


@pytest.mark.parametrize(
    "password",
    [
        *("alllowercaseletters", "no digits, no rules", "94750284", "        spaces   "),
        *("пароль не из списка", "三体三体三体三体", "😀😁😂🤣😃😄😅😆", "é" * 128),
        *("e\u0301" * 128, "\u200b" * 8, "x" * 8 + "yzzy" * 30),
    ],
)
def test_password_follows_no_composition_rule(password):
    values = SignupSchema().load({**PERSON, "password": password})

    passwords.check_password_strength(values["password"], **PERSON)


def test_password_is_not_trimmed(client, make_user):
    make_user(email="alice@example.com")

    assert log_in(client, password=f" {PASSWORD} ").status_code == 401


def test_password_counts_in_any_unicode_form():
    hashed = passwords.hash_password("Ame\u0301lie Poulain")

    assert passwords.verify_password(hashed, "Am\u00e9lie Poulain")


def test_password_of_128_characters_logs_in_however_the_client_spells_them(client, make_user):
    password = "é" * 128
    make_user(email="long@example.com", password_hash=passwords.hash_password(password))

    response = log_in(client, "long@example.com", unicodedata.normalize("NFD", password))

    assert response.status_code == 200


def test_hash_has_owasps_strength(full_strength):
    assert passwords.hash_password(PASSWORD).startswith("scrypt:32768:8:3$")


def test_hash_has_its_own_salt():
    assert passwords.hash_password(PASSWORD) != passwords.hash_password(PASSWORD)


def test_hash_of_nobody_matches_no_password():
    assert not passwords.verify_password(None, "")


def test_eight_logins_at_once_are_checked_and_more_are_told_to_come_again(app, full_strength):
    answers = together(*[lambda: fail_to_log_in(app.test_client(), "nobody@example.com")] * 16)

    busy = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {401, 503}
    assert len(answers) - len(busy) >= 8
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in busy)


def test_hashing_works_again_after_too_many_at_once(client, make_user):
    email = make_user().email
    with passwords._turn():  # the one that is hashed; the queue behind it is filled
        for _ in range(passwords.WAITING):
            passwords._admission.acquire()
        try:
            with pytest.raises(TooBusy):
                passwords.hash_password(PASSWORD)
        finally:
            passwords._admission.release(passwords.WAITING)

    assert log_in(client, email).status_code == 200


def test_logins_do_not_starve_other_requests(app, alice, full_strength):
    seconds = []

    def read():
        client = app.test_client()
        for _ in range(20):
            start = perf_counter()
            client.get(f"{AUTH}/sessions", headers=alice.headers)
            seconds.append(perf_counter() - start)

    together(read, *[lambda: fail_to_log_in(app.test_client(), "nobody@example.com")] * 5)

    assert median(seconds) < 0.2


# A new password.


def test_password_is_changed(client, alice):
    response = change_password(client, alice)

    assert response.status_code == 200
    assert response.json.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
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

    assert (response.status_code, pointers_of(response)) == (422, [f"/{field}"])
    assert snapshot(app) == before
    assert status_of(client, alice.access_token) == 200
