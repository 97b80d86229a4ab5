"""Which Redis is believed: never two at once, and none that has missed what has ended."""

import os
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from books_api.auth import blocklist, blocklist_lease, blocklist_refill
from books_api.auth.blocklist import MARKER, PREFIX
from books_api.extensions import redis
from development.embedded import redis_binary
from tests.helpers import AUTH, execute, log_out, snapshot, status_of
from tests.processes import TIMEOUT, free_port, running_program, wait_until


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let a name be believed for a moment only, so that nobody waits for long."""
    for name, seconds in {"TRUST": 0.4, "ASK": 0.1, "DRIFT": 0.1, "NAMING": 1, "NAMED": 1}.items():
        monkeypatch.setattr(blocklist_lease, f"{name}_SECONDS", seconds)
    monkeypatch.setattr(blocklist, "TRUST_SECONDS", 0.4)


@pytest.fixture
def pair(tmp_path):
    """Two Redis servers."""
    with start_redis(tmp_path / "a") as first, start_redis(tmp_path / "b") as second:
        yield first, second


@contextmanager
def start_redis(folder):
    folder.mkdir()
    port = free_port()
    command = [redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--repl-diskless-sync-delay", "0", "--dir", str(folder)]
    with (
        running_program(command, folder / "log", cwd=folder, env={"PATH": os.environ["PATH"]}),
        Redis(port=port, decode_responses=True) as client,
    ):
        wait_until(lambda: answers(client))
        client.url = f"redis://127.0.0.1:{port}/0"
        yield client


def answers(client):
    with suppress(RedisError):
        return client.ping()


def follow(replica, primary):
    replica.replicaof("127.0.0.1", primary.connection_pool.connection_kwargs["port"])
    wait_until(lambda: replica.info("replication").get("master_link_status") == "up")
    primary.set("written", 1)
    primary.wait(1, 1000)


def promote(server):
    server.replicaof("no", "one")


def fill(app):
    execute(app, "UPDATE blocklist_copy SET held_until = now()")
    with app.app_context():
        assert blocklist_refill.fill()


def test_copy_that_came_by_replication_is_not_believed(make_app, pair, alice):
    first, second = pair
    here, there = make_app(redis_url=first.url), make_app(redis_url=second.url)
    fill(here)
    follow(second, first)
    fill(here)
    promote(second)  # before it hears of this:
    here.test_client().post(f"{AUTH}/logout", headers=alice.headers)

    assert second.exists(MARKER)
    assert status_of(there.test_client(), alice.access_token) == 401


@pytest.mark.parametrize("connected", [False, True])
def test_copy_is_not_believed_after_failing_over_and_back(make_app, pair, alice, bob, connected):
    first, second = pair
    app = make_app(redis_url=first.url)
    client = app.test_client()
    fill(app)
    follow(second, first)
    fill(app)
    status_of(client, bob.access_token)
    promote(second)
    client.post(f"{AUTH}/logout", headers=alice.headers)  # is lost:
    follow(first, second)
    promote(first)
    if not connected:
        with app.app_context():
            redis.client.connection_pool.disconnect()
    time.sleep(blocklist.TRUST_SECONDS)

    assert first.exists(MARKER)
    assert first.keys(f"{PREFIX}sid:*") == []
    assert status_of(client, alice.access_token) == 401
    wait_until(lambda: status_of(client, bob.access_token) == 200, 5)


def test_copy_is_whole_again_after_a_failover(make_app, pair, alice, bob):
    first, second = pair
    fill(make_app(redis_url=first.url))
    follow(second, first)
    promote(second)
    app = make_app(redis_url=second.url)
    client = app.test_client()
    identity = f"{second.info()['run_id']}:{second.info()['master_replid']}"

    wait_until(lambda: log_out(client, alice).status_code == 200, 5)

    wait_until(
        lambda: (
            status_of(client, bob.access_token) == 200
            and str(second.get(MARKER)).endswith(identity)
        ),
        5,
    )
    assert status_of(client, alice.access_token) == 401


def test_first_replica_costs_nobody_his_session(make_app, pair, alice):
    first, second = pair
    app = make_app(redis_url=first.url)
    client = app.test_client()
    fill(app)
    status_of(client, alice.access_token)
    follow(second, first)  # gives the primary another replication id

    assert status_of(client, alice.access_token) == 200


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_redis_that_evicts_is_refused(make_app, pair, alice, policy):
    server, _ = pair
    server.config_set("maxmemory-policy", policy)
    client = make_app(redis_url=server.url).test_client()

    ready = client.get("/readyz")

    assert status_of(client, alice.access_token) == 503
    assert ready.status_code == 503
    assert policy in ready.json["checks"]["redis"]["detail"]


def test_redis_that_begins_to_evict_is_refused_soon(make_app, pair, alice):
    server, _ = pair
    client = make_app(redis_url=server.url).test_client()
    before = status_of(client, alice.access_token)
    server.config_set("maxmemory-policy", "allkeys-lru")
    time.sleep(blocklist.TRUST_SECONDS)

    assert (before, status_of(client, alice.access_token)) == (200, 503)
    assert client.get("/readyz").status_code == 503


def test_replica_is_refused(make_app, pair, alice):
    first, second = pair
    follow(second, first)
    client = make_app(redis_url=second.url).test_client()

    assert status_of(client, alice.access_token) == 503
    assert "replica" in client.get("/readyz").json["checks"]["redis"]["detail"]


class Ledger(threading.Thread):
    """Presents the tokens whose end was acknowledged, again and again; counts who lets them in."""

    def __init__(self, *apps):
        super().__init__(daemon=True)
        self.clients = [app.test_client() for app in apps]
        self.ended, self.asked, self.let_in, self.over = [], 0, 0, False

    def run(self):
        while not self.over:
            for account in list(self.ended[-3:]):
                for client in self.clients:
                    self.asked += 1
                    self.let_in += status_of(client, account.access_token) == 200


def test_split_redis_lets_nobody_in(make_app, make_user, pair):
    first, second = pair
    here, there = make_app(redis_url=first.url), make_app(redis_url=second.url)
    follow(second, first)
    fill(here)
    wait_until(lambda: second.exists(MARKER))
    promote(second)
    ledger = Ledger(here, there)
    ledger.start()
    acknowledged = {here: 0, there: 0}
    begun = time.monotonic()

    while (seconds := time.monotonic() - begun) < 4 or (
        seconds < TIMEOUT and not all(acknowledged.values())  # on a busy machine
    ):
        for app in (here, there):
            account = make_user()
            for client in ledger.clients:
                status_of(client, account.access_token)
            if log_out(app.test_client(), account).status_code == 200:
                acknowledged[app] += 1
                ledger.ended.append(account)
    ledger.over = True
    ledger.join(10)

    assert ledger.let_in == 0, f"of {ledger.asked}"
    assert min(acknowledged.values()) > 0


def test_old_primary_that_returns_as_it_was_lets_nobody_in(make_app, pair, alice):
    first, second = pair
    here, there = make_app(redis_url=first.url), make_app(redis_url=second.url)
    fill(here)
    before = status_of(here.test_client(), alice.access_token)
    fill(there)
    log_out(there.test_client(), alice)

    assert first.exists(MARKER)
    assert (before, status_of(here.test_client(), alice.access_token)) == (200, 401)


def test_marker_of_an_earlier_name_is_not_believed(make_app, pair, alice):
    first, second = pair
    here, there = make_app(redis_url=first.url), make_app(redis_url=second.url)
    fill(here)
    fill(there)
    log_out(there.test_client(), alice)
    execute(here, "UPDATE blocklist_copy SET held_until = now()")
    with here.app_context():
        blocklist_lease.claim(blocklist.identity)

    assert first.exists(MARKER)
    assert status_of(here.test_client(), alice.access_token) == 401


def test_nothing_ends_in_a_redis_that_is_not_named(make_app, pair, alice):
    first, second = pair
    fill(make_app(redis_url=first.url))
    there = make_app(redis_url=second.url)
    execute(there, "UPDATE blocklist_copy SET held_until = now() + interval '1 minute'")
    before = snapshot(there)

    status = log_out(there.test_client(), alice).status_code

    assert (status, snapshot(there)) == (503, before)
    assert second.keys(f"{PREFIX}sid:*") == []


def test_name_that_comes_late_is_not_set(app, monkeypatch):
    with app.app_context():
        execute(app, "UPDATE blocklist_copy SET held_until = now()")

        def other_claims(seconds):
            monkeypatch.undo()
            execute(app, "UPDATE blocklist_copy SET name = 'other', held_until = now()")

        monkeypatch.setattr(time, "sleep", other_claims)
        with pytest.raises(RedisError):
            blocklist_lease.claim(lambda: "another:identity")

        assert blocklist_lease.ask() == "other"


def test_redis_is_named_as_it_is_at_the_end(app):
    """Its first replica, which comes as soon as it serves again, changes its identity."""
    identities = iter(["run:alone", "run:replicated"])
    with app.app_context():
        execute(app, "UPDATE blocklist_copy SET held_until = now()")

        name = blocklist_lease.claim(lambda: next(identities))

    assert name.endswith(":run:replicated")


@pytest.fixture
def standby(app, servers):
    """Postgres is a standby, for as long as it is needed."""
    signal = Path(execute(app, "SHOW data_directory")[0][0], "standby.signal")
    servers.postgres.stop()
    signal.touch()
    servers.postgres.start()
    yield
    with closing(psycopg2.connect(servers.postgres.url)) as connection:
        connection.cursor().execute("SELECT pg_promote()")  # returns when it is done


def test_standby_postgres_fills_no_redis_and_lets_nobody_in(make_app, settings, alice, standby):
    for accepted in ("", "&target_session_attrs=any"):
        app = make_app(database_url=settings.database_url + accepted)
        with app.app_context():
            redis.client.flushall()
        client = app.test_client()

        statuses = [client.get("/readyz").status_code, status_of(client, alice.access_token)]

        assert statuses == [503, 503]
        with app.app_context():
            with pytest.raises((RedisError, SQLAlchemyError)):
                blocklist_refill.fill()
            assert not redis.client.exists(MARKER)
