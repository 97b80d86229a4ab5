"""Sessions: list, end one, their limits in time, and named tokens for scripts."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
import time_machine

from tests.conftest import PASSWORD, bearer
from tests.helpers import (
    AUTH,
    BOOKS,
    MOMO,
    NEW_PASSWORD,
    REFRESH,
    SESSIONS,
    change_password,
    claims_of,
    end_session,
    execute,
    get_me,
    log_out_everywhere,
    make_script_token,
    next_link,
    pointers_of,
    released_together,
    rotate,
    snapshot,
    status_of,
)
from tests.statements import statements

DAY = 86400


def list_sessions(client, token):
    return client.get(SESSIONS, headers=bearer(token)).json


@pytest.fixture
def reader(client, alice):
    """A read-only token of Alice's."""
    return make_script_token(client, alice).json["access_token"]


@pytest.fixture
def writer(client, alice):
    """A token of Alice's that may write."""
    return make_script_token(client, alice, read_only=False).json["access_token"]


def test_session_is_listed_as_the_contract_says(client, alice):
    (session,) = list_sessions(client, alice.access_token)

    names = ("id", "name", "user_agent", "created_at", "last_used_at", "expires_at", "current")
    assert session.keys() >= {*names}
    assert session["id"] == claims_of(alice.access_token)["sid"]
    assert (session["name"], session["user_agent"]) == (None, "tests")


def test_list_tells_nothing_of_the_tokens(client, alice):
    text = client.get(SESSIONS, headers=alice.headers).text

    for token in (alice.access_token, alice.refresh_token):
        assert claims_of(token)["jti"] not in text
    assert "jti" not in text


def test_session_of_the_request_is_marked(client, alice, open_session):
    other = open_session(alice)

    sessions = list_sessions(client, alice.access_token)

    assert {session["id"]: session["current"] for session in sessions} == {
        claims_of(alice.access_token)["sid"]: True,
        claims_of(other.access_token)["sid"]: False,
    }


def test_newest_session_comes_first(client, alice, open_session):
    pairs = [open_session(alice) for _ in range(3)]

    listed = [session["id"] for session in list_sessions(client, alice.access_token)]

    opened = [alice.access_token, *(pair.access_token for pair in pairs)]
    assert listed == [claims_of(token)["sid"] for token in reversed(opened)]


def test_sessions_are_listed_in_pages(client, alice, open_session):
    opened = [alice.access_token, *(open_session(alice).access_token for _ in range(6))]
    url, sizes, listed = f"{SESSIONS}?limit=3&count=true", [], []
    while url:
        response = client.get(url, headers=alice.headers)
        assert response.headers["X-Total-Count"] == "7"
        sizes.append(len(response.json))
        listed += [session["id"] for session in response.json]
        url = next_link(response)

    assert sizes == [3, 3, 1]
    assert listed == [claims_of(token)["sid"] for token in reversed(opened)]


def test_page_of_sessions_has_20_unless_asked(client, alice, open_session):
    for _ in range(21):
        open_session(alice)

    response = client.get(SESSIONS, headers=alice.headers)

    assert len(response.json) == 20
    assert "X-Total-Count" not in response.headers


def test_cursor_of_another_users_sessions_is_refused(client, alice, bob, open_session):
    open_session(alice)
    first = client.get(f"{SESSIONS}?limit=1", headers=alice.headers)

    assert client.get(next_link(first), headers=bob.headers).status_code == 422


def test_page_of_sessions_costs_one_statement(folder, logged_client, alice):
    logged_client.get(SESSIONS, headers=alice.headers)  # not on a new connection

    with statements(folder) as sent:
        logged_client.get(SESSIONS, headers=alice.headers)

    assert len(sent) == 1


def test_page_of_sessions_is_read_from_an_index(app, folder, logged_client, alice, open_session):
    for _ in range(60):  # of a few Postgres would rather sort all
        open_session(alice)
    execute(app, "ANALYZE sessions")
    with statements(folder) as sent:
        logged_client.get(SESSIONS, headers=alice.headers)

    (page,) = [statement for statement in sent if "sessions" in statement]
    plan = " ".join(
        row[0] for row in execute(app, f"SET LOCAL enable_seqscan = off; EXPLAIN {page}")
    )
    assert "ix_sessions_newest" in plan
    assert "Sort" not in plan


def test_other_users_sessions_are_not_listed(client, alice, bob):
    (session,) = list_sessions(client, alice.access_token)

    assert session["id"] == claims_of(alice.access_token)["sid"]


def test_ended_session_is_not_listed(client, alice, open_session):
    other = open_session(alice)

    client.post(f"{AUTH}/logout", headers=bearer(other.access_token))

    assert len(list_sessions(client, alice.access_token)) == 1


@pytest.mark.parametrize("path", ["/logout-all", "/password"])
def test_sessions_that_ended_together_are_not_listed(client, alice, open_session, path):
    open_session(alice)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    kept = client.post(f"{AUTH}{path}", json=body, headers=alice.headers).json.get("access_token")
    token = kept or open_session(alice).access_token

    assert [session["current"] for session in list_sessions(client, token)] == [True]


def test_expired_session_is_not_listed(app, client, alice, open_session):
    other = claims_of(open_session(alice).access_token)["sid"]
    execute(
        app, "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE id = :id", id=other
    )

    assert len(list_sessions(client, alice.access_token)) == 1


def test_refresh_counts_as_use(app, client, alice):
    execute(app, "UPDATE sessions SET last_used_at = last_used_at - interval '1 hour'")
    (before,) = list_sessions(client, alice.access_token)

    rotate(client, alice.refresh_token)

    (after,) = list_sessions(client, alice.access_token)
    assert after["last_used_at"] > before["last_used_at"]
    assert after["created_at"] == before["created_at"]


def test_one_session_is_ended(client, alice, open_session):
    other = open_session(alice)

    response = end_session(client, alice, other.access_token)

    assert response.status_code == 204
    assert status_of(client, other.access_token) == 401
    assert status_of(client, other.refresh_token) == 401
    assert status_of(client, alice.access_token) == 200


def test_own_session_can_be_ended(client, alice):
    end_session(client, alice)

    assert status_of(client, alice.access_token) == 401


@pytest.mark.parametrize("who", ["bob", "admin"])
def test_somebody_elses_session_cannot_be_ended(request, client, alice, who):
    stranger = request.getfixturevalue(who)

    response = end_session(client, stranger, alice.access_token)

    assert response.status_code == 404
    assert status_of(client, alice.access_token) == 200


def test_session_that_has_ended_cannot_be_ended_again(client, alice, open_session):
    url = f"{SESSIONS}/{claims_of(open_session(alice).access_token)['sid']}"
    client.delete(url, headers=alice.headers)

    assert client.delete(url, headers=alice.headers).status_code == 404


def test_unknown_session_is_not_found(client, alice):
    assert client.delete(f"{SESSIONS}/{uuid4()}", headers=alice.headers).status_code == 404


# Limits in time.


def expire_sessions(app, seconds=0):
    execute(
        app,
        "UPDATE sessions SET expires_at = now() + make_interval(secs => :seconds)",
        seconds=seconds,
    )


def test_refresh_moves_the_idle_limit(app, client, alice):
    expire_sessions(app, DAY)

    pair = rotate(client, alice.refresh_token).json

    claims = claims_of(pair["refresh_token"])
    assert claims["exp"] - claims["iat"] == pytest.approx(7 * DAY, abs=1)


def test_get_does_not_move_the_idle_limit(app, client, alice):
    expire_sessions(app, DAY)
    before = snapshot(app)

    client.get(REFRESH, headers=bearer(alice.refresh_token))

    assert snapshot(app) == before


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_session_unused_for_too_long_is_not_refreshed(app, client, alice, method):
    expire_sessions(app)

    response = client.open(REFRESH, method=method, headers=bearer(alice.refresh_token))

    assert response.status_code == 401


def test_refresh_does_not_move_the_absolute_limit(app, client, alice):
    execute(app, "UPDATE sessions SET created_at = now() - interval '89 days'")

    pair = rotate(client, alice.refresh_token).json

    claims = claims_of(pair["refresh_token"])
    assert claims["exp"] - claims["iat"] == pytest.approx(DAY, abs=2)


def test_tokens_do_not_outlive_the_absolute_limit(app, client, alice):
    execute(
        app, "UPDATE sessions SET created_at = now() - interval '90 days' + interval '1 minute'"
    )

    pair = rotate(client, alice.refresh_token).json

    for name in ("access_token", "refresh_token"):
        assert claims_of(pair[name])["exp"] - claims_of(pair[name])["iat"] <= 61


def test_access_token_got_by_get_does_not_outlive_the_session(app, client, alice):
    expire_sessions(app, 60)

    token = client.get(REFRESH, headers=bearer(alice.refresh_token)).json["access_token"]

    assert claims_of(token)["exp"] - claims_of(token)["iat"] <= 61


def test_new_password_does_not_move_the_absolute_limit(app, client, alice):
    execute(app, "UPDATE sessions SET created_at = now() - interval '89 days'")

    response = change_password(client, alice)

    claims = claims_of(response.json["refresh_token"])
    assert claims["exp"] - claims["iat"] == pytest.approx(DAY, abs=2)


def test_limits_are_settable(make_app, alice):
    app = make_app(
        access_token_expires=timedelta(minutes=1),
        refresh_token_expires=timedelta(days=1),
        session_expires=timedelta(days=2),
    )

    pair = rotate(app.test_client(), alice.refresh_token).json

    refresh = claims_of(pair["refresh_token"])
    assert pair["expires_in"] == pytest.approx(60, abs=1)
    assert refresh["exp"] - refresh["iat"] == pytest.approx(DAY, abs=1)


def test_expired_sessions_are_pruned_and_live_ones_are_kept(app, client, alice, open_session):
    expire_sessions(app, -1)
    live = open_session(alice)

    app.test_cli_runner().invoke(args=["maintenance", "prune"])

    assert [str(row.id) for row in execute(app, "SELECT id FROM sessions")] == [
        claims_of(live.access_token)["sid"]
    ]


# Tokens for scripts.


def test_script_token_is_answered_once_with_its_session(client, alice):
    response = make_script_token(client, alice, name="nightly backup", expires_in_days=30)

    assert response.status_code == 201
    claims = claims_of(response.json["access_token"])
    assert (response.json["id"], response.json["name"]) == (claims["sid"], "nightly backup")
    assert "refresh_token" not in response.json
    assert "access_token" not in client.get(SESSIONS, headers=alice.headers).text


def test_script_token_is_listed_by_its_name(client, alice, reader):
    names = [session["name"] for session in list_sessions(client, alice.access_token)]

    assert names == ["backup", None]


@pytest.mark.parametrize("missing", ["name", "expires_in_days", "read_only"])
def test_script_token_needs_a_name_an_end_and_whether_it_writes(client, alice, missing):
    body = {"name": "backup", "expires_in_days": 30, "read_only": True}
    del body[missing]

    response = client.post(SESSIONS, json=body, headers=alice.headers)

    assert [(e["pointer"], e["code"]) for e in response.json["errors"]] == [
        (f"/{missing}", "required")
    ]


@pytest.mark.parametrize("days", [1, 365])
def test_script_token_expires_when_it_was_asked_to(client, alice, days):
    answer = make_script_token(client, alice, expires_in_days=days).json

    claims = claims_of(answer["access_token"])
    assert claims["exp"] - claims["iat"] == pytest.approx(days * DAY, abs=1)
    expires_at = datetime.fromisoformat(answer["expires_at"]).timestamp()
    assert claims["exp"] == pytest.approx(expires_at, abs=1)


OUT_OF_FORM = {
    "expires_in_days": [0, -1, 366, 1.5, "30", True, None, 10**18],
    "name": ["", "   ", None, "x" * 101, "nul\0"],
    "read_only": ["false", 0, None],
    "scope": ["full"],
    "user_id": [str(uuid4())],
}


def test_script_token_out_of_form_is_refused(app, client, alice):
    before = snapshot(app)

    for name, values in OUT_OF_FORM.items():
        for value in values:
            response = make_script_token(client, alice, **{name: value})
            assert (response.status_code, pointers_of(response)) == (422, [f"/{name}"])
    assert snapshot(app) == before


@pytest.mark.parametrize("token", ["reader", "writer"])
def test_script_token_reads(request, client, token):
    headers = bearer(request.getfixturevalue(token))

    assert client.get(f"{BOOKS}/", headers=headers).status_code == 200
    assert client.get(f"{AUTH}/me", headers=headers).status_code == 200


def test_writing_script_token_writes(client, writer):
    response = client.post(f"{BOOKS}/", json=MOMO, headers=bearer(writer))

    assert response.status_code == 201


NEED_A_LOGIN = [
    ("POST", "/sessions", {"name": "another", "expires_in_days": 365, "read_only": False}),
    ("POST", "/password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
    ("PATCH", "/me", {"username": "other"}),
    ("DELETE", "/me", {"current_password": PASSWORD}),
    ("POST", "/logout-all", None),
    ("DELETE", f"/sessions/{UUID(int=0)}", None),
]


def test_script_token_does_not_what_needs_a_login(app, client, reader, writer):
    before = snapshot(app)

    for token in (reader, writer):
        for method, path, body in NEED_A_LOGIN:
            url = f"{AUTH}{path}"
            response = client.open(url, method=method, json=body, headers=bearer(token))
            assert response.status_code == 403
            assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
    assert snapshot(app) == before


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_script_token_is_not_refreshed(client, writer, method):
    response = client.open(REFRESH, method=method, headers=bearer(writer))

    assert response.status_code == 401


@pytest.mark.parametrize("end", [end_session, log_out_everywhere, change_password])
def test_script_token_dies_with_its_session_all_sessions_or_the_old_password(
    client, alice, reader, end
):
    end(*(client, alice, reader) if end is end_session else (client, alice))

    assert status_of(client, reader) == 401


def test_script_token_outlives_the_login_that_made_it(client, alice, reader):
    client.post(f"{AUTH}/logout", headers=alice.headers)

    assert status_of(client, reader) == 200


def test_writing_script_token_logs_itself_out(client, alice, writer):
    assert client.post(f"{AUTH}/logout", headers=bearer(writer)).status_code == 200

    assert status_of(client, writer) == 401
    assert status_of(client, alice.access_token) == 200


def test_no_script_token_is_made_while_the_user_logs_out_everywhere(app, alice, servers):
    (answer,) = released_together(
        servers,
        "UPDATE users SET token_epoch = token_epoch + 1; UPDATE sessions SET ended_at = now()",
        lambda: make_script_token(app.test_client(), alice),
        commit=True,
    )

    assert answer.status_code == 401
    assert execute(app, "SELECT FROM sessions WHERE ended_at IS NULL") == []


def test_admins_script_token_has_the_role(client, admin, alice, make_book):
    token = make_script_token(client, admin, read_only=False).json["access_token"]
    path = f"{BOOKS}/{make_book(alice)['id']}"

    assert client.patch(path, json={"title": "Momo"}, headers=bearer(token)).status_code == 200


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/users"), ("GET", "/users/{id}"), ("PATCH", "/users/{id}")]
)
def test_admins_script_token_is_kept_from_users(client, admin, alice, read_only, method, path):
    token = make_script_token(client, admin, read_only=read_only).json["access_token"]

    response = client.open(
        f"{AUTH}{path.format(id=alice.id)}",
        method=method,
        json={"role": "admin"},
        headers=bearer(token),
    )

    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


def test_expired_script_token_is_refused(client, alice, reader):
    with time_machine.travel(claims_of(reader)["exp"] + 1):
        assert get_me(client, reader).status_code == 401
