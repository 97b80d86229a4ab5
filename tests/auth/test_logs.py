"""Security events, and what is never in the log."""

import json
import re
from typing import get_args

import pytest

from books_api.observability.logs import Event
from tests.conftest import KEY, PASSWORD, bearer
from tests.helpers import (
    AUTH,
    BOOKS,
    NEW_PASSWORD,
    REFRESH,
    change_password,
    claims_of,
    delete_account,
    end_session,
    execute,
    forge,
    log_out,
    log_out_everywhere,
    make_script_token,
    reset_password,
    reuse_refresh_token,
    rotate,
    sign_up,
)
from tests.processes import ROOT

WRONG_PASSWORD = "not the right passphrase"


def find(lines, event):
    (line,) = [line for line in lines() if line.get("event") == event]
    return line


def post(client, path, **body):
    return client.post(f"{AUTH}{path}", json=body)


def refresh(client, alice):
    return client.get(REFRESH, headers=bearer(alice.refresh_token))


def fail_confirmation(client, alice):
    return delete_account(client, alice, WRONG_PASSWORD)


def change_email(client, alice):
    body = {"email": "new@example.com", "current_password": PASSWORD}
    return client.patch(f"{AUTH}/me", json=body, headers=alice.headers)


OF_A_SESSION = {
    "logout": log_out,
    "logout_everywhere": log_out_everywhere,
    "session_ended": end_session,
    "script_token_created": make_script_token,
    "refresh_token_reused": reuse_refresh_token,
    "password_confirmation_failed": fail_confirmation,
    "password_changed": change_password,
    "email_changed": change_email,
    "token_refreshed": refresh,
    "user_deleted": delete_account,
}


@pytest.mark.parametrize("event", OF_A_SESSION)
def test_event_names_user_session_address_and_request(client, alice, lines, event):
    response = OF_A_SESSION[event](client, alice)

    line = find(lines, event)
    assert line["user_id"] == alice.id
    assert line["session_id"]
    assert line["address"] == "127.0.0.1"
    assert line["request_id"] == response.headers["X-Request-ID"]


def test_login_is_an_event_of_its_session(client, alice, lines):
    response = post(client, "/login", email=alice.email, password=PASSWORD)

    line = find(lines, "login")
    assert line["user_id"] == alice.id
    assert line["session_id"] == claims_of(response.json["access_token"])["sid"]
    assert line["address"] == "127.0.0.1"
    assert line["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("known", [True, False])
def test_failed_login_is_an_event(client, alice, lines, known):
    email = alice.email if known else "nobody@example.com"

    response = post(client, "/login", email=email, password=WRONG_PASSWORD)

    line = find(lines, "login_failed")
    assert line["user_id"] == (alice.id if known else None)
    assert line["level"] == "warning"
    assert line["address"] == "127.0.0.1"
    assert line["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("changes", [{"role": "admin"}, {"is_active": False}, {}])
def test_change_by_an_admin_is_an_event_that_names_both(client, alice, admin, lines, changes):
    client.patch(f"{AUTH}/users/{alice.id}", json=changes, headers=admin.headers)

    line = find(lines, "user_changed")
    assert line["user_id"] == alice.id
    assert line["editor_id"] == admin.id
    assert line["session_id"] == claims_of(admin.access_token)["sid"]
    assert {name: line[name] for name in changes} == changes


def test_change_by_an_operator_is_an_event_without_address(app, alice, lines):
    app.test_cli_runner().invoke(args=["users", "set-role", alice.email, "admin"])

    line = find(lines, "user_changed")
    assert (line["user_id"], line["role"], line["editor_id"]) == (alice.id, "admin", None)
    assert "address" not in line


def test_signup_is_an_event(client, lines):
    response = sign_up(client)

    line = find(lines, "user_created")
    assert line["user_id"] == response.json["id"]
    assert line["request_id"] == response.headers["X-Request-ID"]


def test_reset_is_an_event(client, alice, make_reset_token, lines):
    response = reset_password(client, make_reset_token(alice))

    assert find(lines, "password_reset_issued")["user_id"] == alice.id
    line = find(lines, "password_set")
    assert (line["user_id"], line["request_id"]) == (alice.id, response.headers["X-Request-ID"])


def revoked_token(client, alice):
    log_out(client, alice)
    return alice.access_token


def script_token(client, alice):
    return make_script_token(client, alice).json["access_token"]


REFUSED_TOKENS = [
    ("token-invalid", lambda client, alice: f"{alice.access_token[:-4]}AAAA", False, "warning"),
    ("token-invalid", lambda client, alice: alice.refresh_token, True, "warning"),
    ("token-revoked", revoked_token, True, "warning"),
    ("token-read-only", script_token, True, "warning"),
    ("token-expired", lambda client, alice: forge(alice.access_token, exp=1), False, "info"),
]


@pytest.mark.parametrize(("problem", "make", "known", "level"), REFUSED_TOKENS)
def test_a_refused_token_is_an_event(client, alice, lines, problem, make, known, level):
    response = client.post(f"{BOOKS}/", json={}, headers=bearer(make(client, alice)))

    line = find(lines, "token_refused")
    assert (line["problem"], line["level"]) == (problem, level)
    assert line.get("user_id") == (alice.id if known else None)
    assert line["address"] == "127.0.0.1"
    assert line["request_id"] == response.headers["X-Request-ID"]


def test_a_missing_token_is_no_event(client, lines):
    client.get(f"{BOOKS}/")

    assert [line["message"] for line in lines()] == ["request"]


def test_access_without_the_right_to_it_is_an_event(client, alice, lines):
    client.get(f"{AUTH}/users", headers=alice.headers)

    line = find(lines, "access_denied")
    assert (line["user_id"], line["problem"]) == (alice.id, "role-required")


@pytest.mark.parametrize("known", [True, False])
def test_a_login_refused_by_a_limit_is_an_event(share_app, alice, lines, known):
    client = share_app(login_account_limit="1 per hour").test_client()
    email = alice.email if known else "nobody@example.com"
    for _ in range(2):
        response = post(client, "/login", email=email, password=WRONG_PASSWORD)

    line = find(lines, "rate_limited")
    assert response.status_code == 429
    assert line["limit"] == "login_account_limit"
    assert line.get("user_id") == (alice.id if known else None)
    assert line["request_id"] == response.headers["X-Request-ID"]


def test_the_page_lists_the_events():
    page = (ROOT / "docs" / "security.md").read_text()
    table = page.partition("| event | meaning |")[2].partition("\n\n")[0]
    names = "".join(row.split("|")[1] for row in table.splitlines() if row)
    listed = re.findall(r"`(\w+)`", names)

    assert sorted(listed) == sorted(get_args(Event))


def test_each_event_of_the_list_is_logged_somewhere():
    code = "".join(path.read_text() for path in (ROOT / "books_api").rglob("*.py"))

    assert [event for event in get_args(Event) if code.count(f'"{event}"') < 2] == []


def test_failed_reset_is_an_event(client, lines):
    response = reset_password(client, "nonsense")

    line = find(lines, "password_reset_failed")
    assert line["level"] == "warning"
    assert line["request_id"] == response.headers["X-Request-ID"]


def test_email_of_a_failed_login_is_not_logged(client, lines):
    post(client, "/login", email="a-password-in-the-wrong-field", password=WRONG_PASSWORD)

    assert "wrong-field" not in str(lines())


def test_client_cannot_write_lines_of_its_own(client, lines):
    forged = '"}\n{"event": "login"}'
    headers = {"User-Agent": "x", "X-Request-ID": "y", "X-Forwarded-For": forged.replace("\n", "")}

    client.post(
        f"{AUTH}/login", json={"email": forged, "password": WRONG_PASSWORD}, headers=headers
    )

    assert [line["message"] for line in lines()] == ["login_failed", "request"]


def test_log_of_a_whole_tour_has_no_secret(
    client, alice, admin, make_user, make_reset_token, lines
):
    """Everything that handles a secret, in turn; then the log is searched for each."""
    secrets = {KEY, PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, "scrypt:"}

    def keep(response):
        for name in ("access_token", "refresh_token"):
            if name in (response.json or {}):
                secrets.add(response.json[name].rpartition(".")[2])
        return response

    keep(post(client, "/login", email=alice.email, password=WRONG_PASSWORD))
    login = keep(post(client, "/login", email=alice.email, password=PASSWORD)).json
    keep(client.get(REFRESH, headers=bearer(login["refresh_token"])))
    pair = keep(rotate(client, login["refresh_token"])).json
    keep(rotate(client, pair["refresh_token"]))
    keep(rotate(client, login["refresh_token"]))
    for token in (forge(alice.access_token, key=KEY[::-1]), f"{alice.access_token}x"):
        secrets.add(token.rpartition(".")[2])
        client.get(f"{BOOKS}/", headers=bearer(token))
    client.get(f"{BOOKS}/?access_token={alice.access_token}")
    keep(make_script_token(client, alice))
    fail_confirmation(client, alice)
    keep(change_password(client, alice))
    reset = make_reset_token(alice)
    secrets |= {reset, reset.rpartition(".")[2]}
    post(client, "/password-reset", token=reset, new_password="password")
    post(client, "/password-reset", token=reset, new_password=PASSWORD)
    post(client, "/password-reset", token=reset, new_password=PASSWORD)
    client.patch(f"{AUTH}/users/{alice.id}", json={"role": "admin"}, headers=admin.headers)
    log_out(client, make_user())
    delete_account(client, make_user())

    log = json.dumps(lines())
    assert len(lines()) > 10
    assert [secret for secret in secrets if secret in log] == []


def test_log_of_a_database_error_has_no_hash(app, client, lines):
    execute(app, "ALTER TABLE users ADD CONSTRAINT unforeseen CHECK (username <> 'carol')")
    try:
        response = sign_up(client)
    finally:
        execute(app, "ALTER TABLE users DROP CONSTRAINT unforeseen")

    assert response.status_code == 500
    assert "unforeseen" in str(lines())
    assert "scrypt:" not in str(lines())
