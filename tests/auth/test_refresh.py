"""Refresh: rotation, the lost answer, and what a copied token comes to."""

import json
import re
from threading import Barrier

import pytest
import requests
from sqlalchemy import event

from books_api.extensions import db
from tests.conftest import NEVER, bearer
from tests.helpers import (
    AUTH,
    REFRESH,
    change_password,
    claims_of,
    elsewhere,
    execute,
    get_me,
    released_together,
    rotate,
    snapshot,
    status_of,
    together,
)
from tests.processes import running_gunicorn

TOKENS = {"access_token", "refresh_token"}


def age_rotation(app, seconds):
    execute(
        app,
        "UPDATE sessions SET last_used_at = last_used_at - make_interval(secs => :seconds)",
        seconds=seconds,
    )


@pytest.fixture
def spent(app, client, alice):
    """A refresh token that has just been exchanged, and the pair that it gave."""
    pair = rotate(client, alice.refresh_token).json
    return alice.refresh_token, pair


def test_get_answers_with_a_new_access_token(client, alice):
    response = client.get(REFRESH, headers=bearer(alice.refresh_token))

    assert response.status_code == 200
    assert response.json.keys() == {"access_token", "token_type", "expires_in"}
    assert response.json["access_token"] != alice.access_token
    assert get_me(client, response.json["access_token"]).status_code == 200


def test_get_changes_nothing(app, client, alice):
    before = snapshot(app)

    for _ in range(2):
        client.get(REFRESH, headers=bearer(alice.refresh_token))

    assert snapshot(app) == before
    assert rotate(client, alice.refresh_token).status_code == 200


def test_post_answers_with_a_new_pair(client, alice):
    response = rotate(client, alice.refresh_token)

    assert response.status_code == 200
    assert response.json.keys() == TOKENS | {"token_type", "expires_in"}
    assert (response.json["token_type"], response.json["expires_in"]) == ("Bearer", 900)
    assert response.json["refresh_token"] != alice.refresh_token
    assert get_me(client, response.json["access_token"]).status_code == 200


def test_successor_belongs_to_the_same_session_and_user(client, alice):
    before = claims_of(alice.refresh_token)

    pair = rotate(client, alice.refresh_token).json

    for token in map(pair.get, TOKENS):
        assert claims_of(token)["sid"] == before["sid"]
        assert claims_of(token)["sub"] == before["sub"]


def test_no_token_is_stored(app, client, spent):
    _, pair = spent

    stored = str(snapshot(app))

    parts = [part for name in TOKENS for part in pair[name].split(".")]
    assert not [part for part in parts if part in stored]


def test_lost_answer_is_given_again_as_often_as_it_is_lost_and_extends_nothing(app, client, spent):
    parent, pair = spent
    before = snapshot(app)

    answers = [rotate(client, parent).json for _ in range(3)]

    assert answers == [pair] * 3
    assert snapshot(app) == before


def test_lost_answer_sent_again_after_29_seconds_is_given(app, client, spent):
    parent, pair = spent
    age_rotation(app, 29)

    response = rotate(client, parent)

    assert response.status_code == 200
    assert (
        claims_of(response.json["refresh_token"])["jti"]
        == (claims_of(pair["refresh_token"])["jti"])
    )


def test_get_takes_the_token_of_a_lost_answer(client, spent):
    parent, _ = spent

    assert client.get(REFRESH, headers=bearer(parent)).status_code == 200


def test_successor_works_after_the_lost_answer_was_repeated(client, spent):
    parent, pair = spent
    rotate(client, parent)

    assert rotate(client, pair["refresh_token"]).status_code == 200


def test_get_with_the_successor_does_not_spend_it(client, spent):
    parent, pair = spent
    client.get(REFRESH, headers=bearer(pair["refresh_token"]))

    assert rotate(client, parent).json == pair


def replay_after_30_seconds(app, client, parent, pair):
    age_rotation(app, 31)
    return parent


def replay_after_its_successor(app, client, parent, pair):
    rotate(client, pair["refresh_token"])
    return parent


def replay_of_a_great_grandparent(app, client, parent, pair):
    for _ in range(2):
        pair = rotate(client, pair["refresh_token"]).json
    return parent


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "replay",
    [replay_after_30_seconds, replay_after_its_successor, replay_of_a_great_grandparent],
)
def test_replay_is_refused_ends_the_whole_session_and_is_a_security_event(
    app, client, alice, spent, events, replay, method
):
    _, pair = spent
    stale = replay(app, client, *spent)

    response = client.open(REFRESH, method=method, headers=bearer(stale))

    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    (event,) = events("refresh_token_reused")
    assert str(event["user_id"]) == alice.id
    assert str(event["session_id"]) == claims_of(stale)["sid"]
    tokens = (*map(pair.get, TOKENS), alice.access_token, stale)
    assert [status_of(client, token) for token in tokens] == [401] * 4


def test_replay_ends_the_successor_that_the_thief_holds(client, spent):
    parent, pair = spent
    stolen = rotate(client, pair["refresh_token"]).json

    rotate(client, parent)

    assert rotate(client, stolen["refresh_token"]).status_code == 401


def test_replay_leaves_the_users_other_sessions_alone(app, client, alice, spent, open_session):
    other = open_session(alice)
    parent = replay_after_30_seconds(app, client, *spent)

    rotate(client, parent)

    assert status_of(client, other.access_token) == 200


def test_two_replays_at_once_are_both_refused(app, client, servers, spent):
    parent = replay_after_30_seconds(app, client, *spent)

    answers = released_together(
        servers,
        "SELECT FROM sessions FOR UPDATE",
        lambda: rotate(app.test_client(), parent),
        lambda: rotate(app.test_client(), parent),
    )

    assert [answer.status_code for answer in answers] == [401, 401]


def test_two_requests_racing_with_a_token_end_with_the_same_pair(app, client, alice, servers):
    first, second = released_together(
        servers,
        "SELECT FROM sessions FOR UPDATE",
        lambda: rotate(app.test_client(), alice.refresh_token),
        lambda: rotate(app.test_client(), alice.refresh_token),
    )

    assert first.json == second.json
    assert rotate(client, first.json["refresh_token"]).status_code == 200


@pytest.mark.parametrize("logout_first", [True, False])
def test_refresh_that_races_with_a_logout_revives_nothing(
    app, client, alice, servers, logout_first
):
    calls = [
        lambda: rotate(app.test_client(), alice.refresh_token),
        lambda: app.test_client().post(f"{AUTH}/logout", headers=alice.headers),
    ]

    released_together(
        servers, "SELECT FROM sessions FOR UPDATE", *(calls[::-1] if logout_first else calls)
    )

    assert status_of(client, alice.refresh_token) == 401
    assert status_of(client, alice.access_token) == 401


def test_refresh_that_races_with_a_new_password_is_not_taken_for_theft(
    app, client, alice, servers, events
):
    changed, refreshed = released_together(
        servers,
        "SELECT FROM sessions FOR UPDATE",
        lambda: change_password(app.test_client(), alice),
        lambda: rotate(app.test_client(), alice.refresh_token),
    )

    assert refreshed.status_code == 401
    assert events("refresh_token_reused") == []
    assert status_of(client, changed.json["refresh_token"]) == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_new_password_between_two_reads_of_a_refresh_is_not_taken_for_theft(
    app, client, alice, spent, events, method
):
    changed = []
    presented = {"GET": spent[1]["refresh_token"], "POST": spent[0]}[method]

    def change(connection, cursor, statement, *_):
        if re.search("FROM (users|sessions)", statement) and not changed:
            changed.append(None)
            changed.append(elsewhere(change_password, app.test_client(), alice))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "after_cursor_execute", change)
    try:
        refreshed = client.open(REFRESH, method=method, headers=bearer(presented))
    finally:
        event.remove(engine, "after_cursor_execute", change)

    assert refreshed.status_code == 401
    assert events("refresh_token_reused") == []
    assert status_of(client, changed[1].json["access_token"]) == 200


@pytest.fixture
def two_workers(app, settings, folder):
    """The address of gunicorn with two workers, each with several threads."""
    with running_gunicorn(folder, settings, "--threads", "8", REFRESH_LIMIT=NEVER) as gunicorn:
        yield gunicorn.url


def test_16_threads_against_two_processes_end_with_the_same_pair(alice, two_workers):
    """And so do 16 with its successor: the session goes on as one, without a fork."""
    token, begin = alice.refresh_token, Barrier(16)

    def exchange():
        begin.wait()
        response = requests.post(two_workers + REFRESH, headers=bearer(token), timeout=10)
        return response.status_code, response.text

    for _ in range(3):
        answers = set(together(*[exchange] * 16))

        ((status, body),) = answers
        assert status == 200
        token = json.loads(body)["refresh_token"]


def test_spent_token_keeps_nobody_logged_in_after_the_session_has_ended(client, spent):
    parent, pair = spent
    client.post(f"{AUTH}/logout", headers=bearer(pair["access_token"]))

    assert rotate(client, parent).status_code == 401


def test_refresh_token_of_a_session_that_is_not_there_is_refused(app, client, alice):
    execute(app, "DELETE FROM sessions")

    assert rotate(client, alice.refresh_token).status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_sends_no_token_is_told_which_is_wanted(client, method):
    response = client.open(REFRESH, method=method)

    assert response.json["detail"] == "Send the refresh token: Authorization: Bearer <token>."
