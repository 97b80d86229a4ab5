"""Revocation: what has ended stays ended, whatever happens to Redis."""

import math
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import time
from uuid import UUID

import pytest
import time_machine
from redis import Redis
from sqlalchemy import Engine, event

from books_api.auth import users
from books_api.auth.blocklist import FRESH, MARKER, PENDING, PREFIX
from books_api.auth.revocation import revoking
from books_api.config import CLOCK_LEEWAY
from books_api.extensions import db, redis
from tests import helpers
from tests.conftest import PASSWORD, bearer
from tests.helpers import (
    AUTH,
    BOOKS,
    NEW_PASSWORD,
    REFRESH,
    claims_of,
    crash_while_revoking,
    elsewhere,
    entry_of,
    execute,
    forge,
    log_out,
    make_script_token,
    released_together,
    rotate,
    snapshot,
    status_of,
    together,
)
from tests.processes import wait_until
from tests.statements import statements


class World:
    """Alice, whose session is to be ended, and those who can do it."""

    def __init__(self, app, alice, admin, other, book_owner, reset_token):
        self.app, self.client = app, app.test_client()
        self.alice, self.admin, self.bob = alice, admin, book_owner
        self.other = other  # another session of Alice's
        self.reset_token = reset_token
        assert status_of(self.client, alice.access_token) == 200

    def patch_alice(self, **changes):
        return self.client.patch(
            f"{AUTH}/users/{self.alice.id}", json=changes, headers=self.admin.headers
        )


@pytest.fixture
def world(app, alice, admin, bob, open_session, make_reset_token):
    return World(app, alice, admin, open_session(alice), bob, make_reset_token(alice))


def logout(world):
    return log_out(world.client, world.alice)


def logout_with_refresh_token(world):
    return world.client.post(f"{AUTH}/logout", headers=bearer(world.alice.refresh_token))


def logout_all(world):
    return world.client.post(f"{AUTH}/logout-all", headers=bearer(world.other.access_token))


def end_session(world):
    session_id = claims_of(world.alice.access_token)["sid"]
    return world.client.delete(
        f"{AUTH}/sessions/{session_id}", headers=bearer(world.other.access_token)
    )


def change_role(world):
    return world.patch_alice(role="admin")


def deactivate(world):
    return world.patch_alice(is_active=False)


def change_password(world):
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    return world.client.post(
        f"{AUTH}/password", json=body, headers=bearer(world.other.access_token)
    )


def reset_password(world):
    return helpers.reset_password(world.client, world.reset_token)


def delete_account(world):
    return helpers.delete_account(world.client, world.alice)


REVOCATIONS = [
    *(logout, logout_with_refresh_token, logout_all, end_session, change_role, deactivate),
    *(change_password, reset_password, delete_account),
]
ANSWER_204 = [end_session, reset_password, delete_account]
each_revocation = pytest.mark.parametrize("revoke", REVOCATIONS)
# A session's entry and a user's epoch: all that Redis can forget.
each_level = pytest.mark.parametrize("revoke", [logout, logout_all])


def assert_dead(world):
    assert status_of(world.client, world.alice.access_token) == 401
    assert status_of(world.client, world.alice.refresh_token) == 401


def assert_alive(world):
    assert status_of(world.client, world.alice.access_token) == 200
    assert status_of(world.client, world.alice.refresh_token) == 200


@each_revocation
def test_revoked_token_is_refused_and_nobody_elses(world, revoke):
    assert revoke(world).status_code == (204 if revoke in ANSWER_204 else 200)

    assert_dead(world)
    assert rotate(world.client, world.alice.refresh_token).status_code == 401
    assert status_of(world.client, world.bob.access_token) == 200
    assert status_of(world.client, world.admin.access_token) == 200


@each_revocation
def test_revoked_token_is_refused_after_redis_is_flushed(world, revoke):
    revoke(world)
    with world.app.app_context():
        redis.client.flushall()

    assert_dead(world)


@pytest.mark.parametrize("revoke", [logout, logout_with_refresh_token, end_session])
def test_ending_a_session_leaves_the_users_others(world, revoke):
    revoke(world)

    assert status_of(world.client, world.other.access_token) == 200
    assert status_of(world.client, world.other.refresh_token) == 200


@pytest.mark.parametrize("revoke", [logout_all, change_role, deactivate, reset_password])
def test_raising_the_epoch_ends_the_users_other_sessions(world, revoke):
    revoke(world)

    assert status_of(world.client, world.other.access_token) == 401
    assert status_of(world.client, world.other.refresh_token) == 401


def test_logout_everywhere_that_races_with_another_revocation_is_not_lost(world, servers):
    elsewhere_revoked = "UPDATE users SET token_epoch = token_epoch + 1 WHERE username = 'alice'"

    (response,) = released_together(
        servers, elsewhere_revoked, lambda: logout_all(world), commit=True
    )

    assert response.status_code == 401
    ((epoch,),) = execute(world.app, "SELECT token_epoch FROM users WHERE username = 'alice'")
    assert epoch == 1


def test_new_password_kills_the_tokens_of_the_session_that_set_it(world):
    pair = change_password(world).json

    assert status_of(world.client, world.other.access_token) == 401
    assert status_of(world.client, world.other.refresh_token) == 401
    assert status_of(world.client, pair["access_token"]) == 200
    assert status_of(world.client, pair["refresh_token"]) == 200


def test_access_token_of_before_a_refresh_dies_with_the_session(world):
    pair = rotate(world.client, world.alice.refresh_token).json

    world.client.post(f"{AUTH}/logout", headers=bearer(pair["access_token"]))

    assert status_of(world.client, world.alice.access_token) == 401


def test_access_token_got_by_get_dies_with_the_session(world):
    headers = bearer(world.alice.refresh_token)
    token = world.client.get(REFRESH, headers=headers).json["access_token"]

    logout(world)

    assert status_of(world.client, token) == 401


@pytest.mark.parametrize("revoke", [change_role, logout_all, reset_password])
def test_tokens_issued_in_the_second_of_the_revocation_work(world, open_session, revoke):
    with time_machine.travel(datetime.now(UTC), tick=False):
        revoke(world)
        pair = open_session(world.alice)

        assert status_of(world.client, pair.access_token) == 200
        assert status_of(world.client, pair.refresh_token) == 200
        assert_dead(world)


def test_tokens_that_a_new_password_answers_with_work_in_the_same_second(world):
    with time_machine.travel(datetime.now(UTC), tick=False):
        pair = change_password(world).json

        assert status_of(world.client, pair["access_token"]) == 200
        assert_dead(world)


def test_reactivated_user_logs_in_and_the_old_tokens_stay_dead(world, open_session):
    deactivate(world)
    world.patch_alice(is_active=True)

    assert status_of(world.client, open_session(world.alice).access_token) == 200
    assert_dead(world)


def test_role_counts_from_the_next_request(world, open_session):
    change_role(world)
    promoted = open_session(world.alice).access_token
    world.patch_alice(role="user")

    assert world.client.get(f"{AUTH}/users", headers=bearer(promoted)).status_code == 401


# Redis forgets.


def is_whole(world):
    """Tell whether the copy is whole; if not, a request has it filled."""
    status_of(world.client, world.bob.access_token)
    with world.app.app_context():
        return redis.client.exists(MARKER)


def flush(redis_server, client):
    client.flushall()


def kill_and_start_empty(redis_server, client):
    redis_server.kill()
    redis_server.start()


def evict_with_the_marker(redis_server, client):
    client.delete(MARKER, *client.keys(f"{PREFIX}sid:*"), *client.keys(f"{PREFIX}epoch:*"))


def lose_the_marker(redis_server, client):
    client.delete(MARKER)


@each_level
@pytest.mark.parametrize(
    "forget", [flush, kill_and_start_empty, evict_with_the_marker, lose_the_marker]
)
def test_redis_that_has_forgotten_lets_nobody_in_and_keeps_nobody_out(
    world, redis_server, revoke, forget
):
    revoke(world)
    with world.app.app_context():
        forget(redis_server, redis.client)

    assert_dead(world)
    assert status_of(world.client, world.bob.access_token) == 200


@each_level
def test_redis_that_comes_back_with_an_older_state_lets_nobody_in(world, redis_server, revoke):
    assert status_of(world.client, world.alice.access_token) == 200
    with world.app.app_context():
        redis.client.save()  # with the marker, without what follows
    revoke(world)
    redis_server.kill()
    redis_server.start()
    with world.app.app_context():
        remembered = Redis.from_url(redis_server.url).get(MARKER)

    assert remembered is not None
    assert_dead(world)


def test_older_epoch_that_redis_comes_back_with_is_not_believed(world, redis_server, open_session):
    logout_all(world)
    with world.app.app_context():
        redis.client.save()
    world.alice = open_session(world.alice)
    world.client.post(f"{AUTH}/logout-all", headers=bearer(world.alice.access_token))
    redis_server.kill()
    redis_server.start()

    assert_dead(world)


def test_redis_that_cannot_be_filled_lets_nobody_in(app, make_app, alice):
    without_postgres = make_app(database_url="postgresql+psycopg2://postgres@/books?host=/nowhere")
    with app.app_context():
        redis.client.flushall()

    response = without_postgres.test_client().get(f"{BOOKS}/?limit=0", headers=alice.headers)

    assert response.status_code == 503


@each_level
def test_many_requests_fill_redis_at_once(world, revoke):
    revoke(world)
    with world.app.app_context():
        redis.client.flushall()

    statuses = together(
        *[lambda: status_of(world.app.test_client(), world.alice.access_token)] * 4,
        *[lambda: status_of(world.app.test_client(), world.bob.access_token)] * 4,
    )

    assert statuses == [401] * 4 + [200] * 4


def test_full_redis_lets_nobody_in(world, redis_server):
    logout(world)
    with world.app.app_context():
        redis.client.flushall()
        redis.client.config_set("maxmemory", "1")

    assert_dead(world)
    assert logout_all(world).status_code == 503


@pytest.mark.parametrize(("is_noticed", "status"), [(False, 401), (True, 503)])
def test_redis_that_turns_into_a_replica_lets_nobody_in(
    world, redis_server, monkeypatch, is_noticed, status
):
    # In the background it would take the connection, and the next request would make another.
    monkeypatch.setattr(world.app.extensions["blocklist_filler"], "start", lambda: None)
    logout(world)
    with world.app.app_context():
        redis.client.flushall()
        redis.client.replicaof("127.0.0.1", 1)
        pool = redis.client.connection_pool
        for connection in pool._available_connections:
            connection.identified_at = 0 if is_noticed else math.inf

    assert status_of(world.client, world.alice.access_token) == status
    assert status_of(world.client, world.alice.refresh_token) == status
    assert logout_all(world).status_code == 503


# A crash between Postgres and Redis.


@pytest.mark.parametrize("kind", ["jti", "sid", "epoch"])
@pytest.mark.parametrize(("commit", "status"), [(True, 401), (False, 200)])
def test_revocation_holds_when_the_process_dies_after_the_commit_and_only_then(
    world, kind, commit, status
):
    crash_while_revoking(world.app, entry_of(world.alice.access_token, kind), commit=commit)

    assert status_of(world.client, world.alice.access_token) == status


@pytest.mark.parametrize("kind", ["jti", "sid", "epoch"])
def test_revocation_under_way_is_asked_of_postgres(world, kind):
    entry = entry_of(world.alice.access_token, kind)
    with world.app.app_context(), revoking([entry], "logout"):
        under_way = redis.client.get(PREFIX + entry.key)
        before = elsewhere(status_of, world.client, world.alice.access_token)
        db.session.commit()
        committed = elsewhere(status_of, world.client, world.alice.access_token)

    assert under_way.startswith(PENDING)
    assert (before, committed) == (200, 401)


def forgotten_at(app, key):
    with app.app_context():
        return time() + redis.client.pttl(PREFIX + key) / 1000


@each_revocation
def test_revocation_holds_when_redis_dies_at_the_commit(world, redis_server, revoke):
    def die(session):
        redis_server.kill()

    status_of(world.client, world.alice.access_token)
    with listening(db.session, "after_commit", die):
        response = revoke(world)
    redis_server.start()

    assert response.status_code == (204 if revoke in ANSWER_204 else 200)
    assert_dead(world)


def test_value_that_redis_gets_late_does_not_undo_a_later_revocation(world, open_session):
    with world.app.app_context():
        users.get_user(UUID(world.alice.id)).token_epoch = 1
        with revoking([entry_of(world.alice.access_token, "epoch", 1)], "logout"):
            db.session.commit()
            between = elsewhere(open_session, world.alice).access_token
            elsewhere(deactivate, world)

    assert status_of(world.client, between) == 401


def test_value_that_redis_gets_late_does_not_hide_a_revocation_that_crashed(world):
    between = forge(world.alice.access_token, epoch=1)
    first, second = (entry_of(between, "epoch", value) for value in (1, 2))
    with world.app.app_context(), revoking([first], "logout"):
        db.session.commit()
        elsewhere(crash_while_revoking, world.app, second, commit=True)

    assert status_of(world.client, between) == 401


def test_later_revocation_does_not_shorten_an_earlier_one(world):
    script = make_script_token(world.client, world.alice, expires_in_days=365).json
    logout_all(world)

    world.patch_alice(role="admin")

    expires_at = claims_of(script["access_token"])["exp"]
    assert forgotten_at(world.app, f"epoch:{world.alice.id}") >= expires_at + CLOCK_LEEWAY


def test_revocation_under_way_holds_when_redis_forgets_it(world):
    entry = entry_of(world.alice.access_token, "sid")
    with world.app.app_context(), revoking([entry], "logout"):
        redis.client.flushall()
        under_way = elsewhere(status_of, world.app.test_client(), world.alice.access_token)
        db.session.commit()

    assert (under_way, status_of(world.client, world.alice.access_token)) == (200, 401)
    wait_until(lambda: is_whole(world), 5)
    assert status_of(world.client, world.alice.access_token) == 401


# Redis is away.


@contextmanager
def listening(target, name, listener):
    event.listen(target, name, listener)
    yield
    event.remove(target, name, listener)


def test_revoked_token_is_not_let_in_while_redis_is_away(world, redis_server):
    logout(world)
    redis_server.kill()

    assert status_of(world.client, world.alice.access_token) == 503
    assert status_of(world.client, world.alice.refresh_token) == 503


@pytest.mark.parametrize("headers", [{}, bearer("a.b.c")], ids=["no token", "a wrong one"])
def test_who_has_no_good_token_is_401_while_redis_is_away(world, redis_server, headers):
    redis_server.kill()

    assert world.client.get(f"{BOOKS}/", headers=headers).status_code == 401


def test_good_token_works_within_a_second_of_redis_being_back(world, redis_server):
    logout(world)
    redis_server.kill()
    status_of(world.client, world.bob.access_token)
    redis_server.start()

    wait_until(lambda: status_of(world.client, world.bob.access_token) == 200, 1)
    assert_dead(world)


@each_revocation
def test_nothing_is_revoked_while_redis_is_away(world, redis_server, revoke):
    def die(connection, cursor, statement, parameters, context, executemany):
        if "pg_advisory_xact_lock_shared" in statement:
            redis_server.kill()

    status_of(world.client, world.alice.access_token)
    before = snapshot(world.app)
    with listening(Engine, "before_cursor_execute", die):
        response = revoke(world)
    redis_server.start()

    assert response.status_code == 503
    assert snapshot(world.app) == before
    assert_alive(world)


# What it costs, and what it leaves behind.


def test_keys_of_the_round_trip_are_in_one_slot_of_a_cluster(client, alice, commands):
    command, *_ = commands(lambda: client.get(f"{BOOKS}/?limit=0", headers=alice.headers))

    keys = command.split(" ")[1:]
    assert len(keys) == 5
    assert all(key.startswith("{books}:") for key in keys)


def test_authentication_makes_no_statement(folder, logged_client, alice):
    logged_client.get(f"{BOOKS}/", headers=alice.headers)

    with statements(folder) as sent:
        logged_client.get(f"{BOOKS}/?limit=0", headers=alice.headers)

    assert sent == []


def test_revoked_token_costs_no_statement(folder, logged_client, world):
    status_of(logged_client, world.alice.access_token)
    logout_all(world)

    with statements(folder) as sent:
        status = status_of(logged_client, world.alice.access_token)

    assert (status, sent) == (401, [])


def test_every_key_in_redis_expires(world):
    for revoke in REVOCATIONS:
        revoke(world)
    assert_dead(world)

    with world.app.app_context():
        lives = {key: redis.client.ttl(key) for key in redis.client.scan_iter()}
    assert {key for key in lives if key.startswith(PREFIX)} > {MARKER}
    assert [key for key, seconds in lives.items() if seconds < 0] == []


def test_entries_last_as_long_as_the_tokens_that_they_block(world):
    logout(world)
    session = claims_of(world.alice.refresh_token)

    forgotten = forgotten_at(world.app, f"sid:{session['sid']}")
    assert forgotten - (session["exp"] + CLOCK_LEEWAY) == pytest.approx(0, abs=2)


def test_redis_is_empty_when_the_last_token_has_expired(make_app, alice):
    life = timedelta(seconds=5)
    app = make_app(access_token_expires=life, refresh_token_expires=life, session_expires=life)
    client = app.test_client()
    # So long ago that what blocks these tokens has a second left, by the clock of Redis.
    with time_machine.travel(datetime.now(UTC) - life - timedelta(seconds=CLOCK_LEEWAY - 1)):
        execute(app, "DELETE FROM sessions")
        with app.app_context():
            user = users.get_user(UUID(alice.id))
            pairs = [users.sessions.open_session(user, user_agent="") for _ in range(2)]
            db.session.commit()
        for pair, ending in zip(pairs, ("logout", "logout-all"), strict=True):
            client.post(f"{AUTH}/{ending}", headers=bearer(pair.access_token))

    assert len(execute(app, "SELECT FROM revocations")) == 3  # a token, a session, an epoch
    with app.app_context():
        wait_until(lambda: set(redis.client.keys()) <= {MARKER, FRESH}, 4)


def test_pruning_deletes_what_has_expired_and_nothing_else(app, world):
    logout(world)
    logout_all(world)
    execute(
        app, "UPDATE revocations SET expires_at = now() - interval '1 second' WHERE key LIKE 'sid%'"
    )

    result = app.test_cli_runner().invoke(args=["maintenance", "prune"])

    assert result.exit_code == 0
    keys = [row.key.partition(":")[0] for row in execute(app, "SELECT key FROM revocations")]
    assert sorted(keys) == ["epoch", "jti"]
