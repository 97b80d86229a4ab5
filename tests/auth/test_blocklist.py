"""The copy in Redis never says less than the truth, whatever is late, twice, lost or half done."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from flask_jwt_extended import jwt_required
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from redis.exceptions import RedisError

from books_api import background
from books_api.auth import blocklist, blocklist_lease, blocklist_refill
from books_api.auth.blocklist import FILLING, FRESH, MARKER, PREFIX, Change, merge
from books_api.auth.revocation import revoking
from books_api.extensions import db, redis
from tests.helpers import (
    AUTH,
    BOOKS,
    crash_while_revoking,
    elsewhere,
    entry_of,
    execute,
    locked,
    status_of,
)
from tests.processes import wait_until
from tests.statements import statements

KEY = "epoch:somebody"
HOUR = 3600


@pytest.fixture
def context(app):
    with app.app_context():
        yield


def in_an_hour():
    return int(time.time()) + HOUR


def text_of(key=KEY):
    return redis.client.get(PREFIX + key)


# The laws of MERGE.


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (None, {"value": 5}, "5"),
        (None, {"add": "?1-a"}, "?1-a"),
        ("5", {"value": 4}, "5"),
        ("9", {"value": 10}, "10"),
        ("5", {"add": "?1-a"}, "?1-a=5"),
        ("?1-a=5", {"add": "?1-a"}, "?1-a=5"),
        ("?1-a=5", {"add": "?2-b"}, "?1-a?2-b=5"),
        ("?1-a=5", {"value": 6}, "?1-a=6"),
        ("?1-a?2-b=5", {"value": 6, "drop": "?1-a"}, "?2-b=6"),
        ("?1-a", {"value": 5, "drop": "?1-a"}, "5"),
        ("?1-a", {"value": 5, "drop": "?2-b"}, "?1-a=5"),
        ("?1-a", {"drop": "?1-a"}, None),
        ("?1-a=5", {"drop": "?1-a"}, "5"),
        ("?0123abcd", {"value": 5, "drop": "?1-a"}, "?0123abcd=5"),  # an earlier version's
    ],
)
def test_values_rise_and_pendings_go_by_their_names(context, before, change, after):
    if before:
        redis.client.set(PREFIX + KEY, before, ex=HOUR)

    merge([Change(KEY, in_an_hour(), **change)])

    assert text_of() == after


@pytest.mark.parametrize("change", [{"value": 6}, {"add": "?1-a"}, {"drop": "?2-b"}, {}])
def test_a_life_is_never_shortened(context, change):
    redis.client.set(PREFIX + KEY, "?2-b=5", ex=2 * HOUR)

    for expires in (0, int(time.time()) - HOUR, in_an_hour()):
        merge([Change(KEY, expires, **change)])

    assert redis.client.ttl(PREFIX + KEY) > HOUR


@pytest.mark.parametrize("before", ["5", "?1-a", "?1-a=5"])
def test_a_life_grows_even_if_nothing_else_changes(context, before):
    redis.client.set(PREFIX + KEY, before, ex=HOUR)

    merge([Change(KEY, in_an_hour() + HOUR)])

    assert text_of() == before
    assert redis.client.ttl(PREFIX + KEY) > HOUR


@pytest.mark.parametrize("change", [{"value": 6}, {"add": "?1-a"}, {"drop": "?1-a"}])
@pytest.mark.parametrize("ago", [1, HOUR])
def test_what_comes_after_its_end_of_life_makes_no_key(context, change, ago):
    merge([Change(KEY, int(time.time()) - ago, **change)])

    assert text_of() is None


class Messages(RuleBasedStateMachine):
    """Transactions raise a value, one at a time; any message comes late, again, or never."""

    def __init__(self):
        super().__init__()
        self.committed, self.open, self.over, self.sent = 0, None, {}, []
        self.expires, self.number = in_an_hour(), 0
        redis.client.delete(PREFIX + KEY)

    def deliver(self, message):
        merge([message])

    @precondition(lambda self: self.open is None)
    @rule()
    def prepare(self):
        self.number += 1
        self.open = blocklist.pending_of(str(self.number))
        self.sent.append(Change(KEY, self.expires, add=self.open))
        self.deliver(self.sent[-1])  # acknowledged

    @precondition(lambda self: self.open)
    @rule(commit=st.booleans())
    def end(self, commit):
        self.over[self.open] = True
        if commit:
            self.committed += 1
            self.sent.append(Change(KEY, self.expires, self.committed, drop=self.open))
        self.open = None

    @rule()
    def read_for_a_page(self):
        if self.committed:
            self.sent.append(Change(KEY, self.expires, self.committed))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def arrive(self, data):
        self.deliver(data.draw(st.sampled_from(self.sent)))

    @rule()
    def ask(self):
        text = text_of() or "0"
        if not text.startswith("?"):
            assert int(text) == self.committed
        for pending in blocklist.PENDINGS.finditer(text):
            if self.over.get(pending[0]):
                self.sent.append(Change(KEY, self.expires, self.committed, drop=pending[0]))

    def teardown(self):
        self.ask()


def test_no_order_and_no_repetition_of_messages_hides_what_is_committed(context):
    run_machine(
        Messages,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# Pendings.


@pytest.mark.parametrize(("commit", "status", "left"), [(True, 401, "1"), (False, 200, None)])
@pytest.mark.parametrize("kind", ["sid", "epoch"])
def test_pending_of_a_crash_ends_with_the_next_request(
    app, client, alice, kind, commit, status, left
):
    entry = entry_of(alice.access_token, kind)
    crash_while_revoking(app, entry, commit=commit)

    assert status_of(client, alice.access_token) == status
    with app.app_context():
        assert text_of(entry.key) == left


def test_pending_of_a_running_transaction_stays(app, client, alice):
    entry = entry_of(alice.access_token)
    with app.app_context(), revoking([entry], "logout"):
        under_way = text_of(entry.key)
        elsewhere(status_of, client, alice.access_token)

        assert text_of(entry.key) == under_way


def test_request_that_meets_a_pending_makes_one_statement(app, folder, logged_client, alice):
    logged_client.get(f"{BOOKS}/", headers=alice.headers)  # connects
    crash_while_revoking(app, entry_of(alice.access_token), commit=False)

    with statements(folder) as sent:
        logged_client.get(f"{BOOKS}/?limit=0", headers=alice.headers)

    assert len(sent) == 1


def test_every_pending_of_a_key_is_ended(app, client, alice):
    for _ in range(3):
        crash_while_revoking(app, entry_of(alice.access_token), commit=False)
    crash_while_revoking(app, entry_of(alice.access_token), commit=True)

    assert status_of(client, alice.access_token) == 401
    with app.app_context():
        assert text_of(entry_of(alice.access_token).key) == "1"


def test_value_whose_row_a_failover_has_lost_stays_true(app, client, alice, context):
    client.post(f"{AUTH}/logout", headers=alice.headers)
    execute(app, "DELETE FROM revocations")
    redis.client.delete(MARKER)

    assert status_of(client, alice.access_token) == 401


# Trust.


def test_name_is_asked_for_again_before_it_is_believed_no_more(context, monkeypatch):
    name, now = blocklist_lease.ask(), [time.monotonic()]
    for module in (background, blocklist_lease):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    trust = blocklist_lease.trust()

    for _ in range(40):
        now[0] += 0.1
        believed = trust.believes(name)
        wait_until(lambda: "ask" not in {thread.name for thread in threading.enumerate()})

        assert believed


# Filling.


def forget(app):
    with app.app_context():
        redis.client.flushall()


def test_nobody_waits_for_a_fill(app, client, alice, bob):
    client.post(f"{AUTH}/logout", headers=alice.headers)
    with (
        app.app_context(),
        revoking([entry_of(bob.access_token)], "logout"),
    ):  # so that no fill ends
        redis.client.flushall()
        begin = time.perf_counter()
        statuses = [elsewhere(status_of, client, account.access_token) for account in (alice, bob)]
        seconds = time.perf_counter() - begin
        whole = redis.client.exists(MARKER)

    assert (statuses, whole) == ([401, 200], 0)
    assert seconds < 1


LOCK = f"SELECT pg_advisory_xact_lock_shared({blocklist.ADVISORY_LOCK})"


@pytest.fixture
def fill_elsewhere(app):
    """Start a fill in another thread; returns its future."""
    with ThreadPoolExecutor(1) as pool:

        def fill():
            with app.app_context():
                return blocklist_refill.fill()

        yield lambda: pool.submit(fill)


def test_fill_waits_for_revocations_under_way_and_not_for_later_ones(
    context, servers, fill_elsewhere
):
    with locked(servers, LOCK) as under_way:
        filled = fill_elsewhere()
        wait_until(lambda: redis.client.exists(FILLING), 5)
        time.sleep(0.2)
        with locked(servers, LOCK):
            waited = not filled.done()
            under_way.release()

            assert filled.result(5)
    assert waited


def test_fill_that_waits_does_not_hold_up_revocations(context, servers, fill_elsewhere, bob):
    with locked(servers, LOCK) as under_way:
        filled = fill_elsewhere()
        wait_until(lambda: redis.client.exists(FILLING), 5)
        with revoking([entry_of(bob.access_token)], "logout"):
            db.session.commit()
        waits = not filled.done()
        under_way.release()

        assert filled.result(5)
    assert waits


def test_many_pages_are_filled(app, context, make_user):
    execute(
        app,
        "INSERT INTO revocations SELECT 'sid:' || n, 1, now() + interval '1 hour'"
        " FROM generate_series(1, :rows) AS n",
        rows=2 * blocklist_refill.PAGE + 1,
    )
    redis.client.flushall()

    assert blocklist_refill.fill()
    assert (
        len(list(redis.client.scan_iter(f"{PREFIX}sid:*", 1000))) == 2 * blocklist_refill.PAGE + 1
    )


def test_one_filler_at_a_time(context):
    blocklist.run(blocklist_refill.START, [FILLING], "other")

    assert not blocklist_refill.fill()


def test_whole_copy_stays_believed_while_it_is_filled_again(app, folder, logged_client, alice):
    logged_client.get(f"{BOOKS}/?limit=0", headers=alice.headers)
    with app.app_context():
        redis.client.delete(FRESH)
        blocklist.run(blocklist_refill.START, [FILLING], "frozen filler")

    with statements(folder) as sent:
        logged_client.get(f"{BOOKS}/?limit=0", headers=alice.headers)

    assert [statement for statement in sent if "revocations" in statement] == []  # as of a filler


def test_copy_that_is_no_longer_fresh_is_filled_again(app, client, alice, context):
    execute(app, "INSERT INTO revocations VALUES ('sid:x', 1, now() + interval '1 hour')")
    redis.client.delete(FRESH)

    wait_until(lambda: status_of(client, alice.access_token) == 200 and redis.client.exists(FRESH))
    assert text_of("sid:x") == "1"


def test_fill_that_failed_is_tried_again(client, alice, context):
    redis.client.flushall()
    redis.client.config_set("maxmemory", "1")
    try:
        status = status_of(client, alice.access_token)
    finally:
        redis.client.config_set("maxmemory", "0")

    assert status == 200
    wait_until(lambda: status_of(client, alice.access_token) == 200 and redis.client.exists(MARKER))


def test_fill_of_a_whole_copy_writes_no_entry(app, alice, client, context, commands):
    client.post(f"{AUTH}/logout-all", headers=alice.headers)
    blocklist_refill.fill()

    sent = commands(blocklist_refill.fill)

    assert not any(command.startswith(f"SET {PREFIX}epoch") for command in sent)


def start(random="random"):
    return blocklist.run(blocklist_refill.START, [FILLING], random)


def finish(name):
    keys = [FILLING, MARKER, FRESH, blocklist.PREFIX + blocklist.MARKS]
    return blocklist.run(blocklist_refill.FINISH, keys, name, blocklist_lease.ask(), 1000)


def test_start_that_arrives_again_names_another_fill(context):
    redis.client.flushall()
    name = start()
    redis.client.flushall()  # with all that was filled
    start()

    assert not finish(name)
    assert not redis.client.exists(MARKER)


def test_finish_that_arrives_again_sets_no_marker(context):
    redis.client.flushall()
    name = start()
    assert finish(name)
    redis.client.delete(MARKER)

    assert not finish(name)
    assert not redis.client.exists(MARKER)


def test_page_of_a_fill_that_was_given_up_is_refused(context):
    redis.client.flushall()
    name = start()
    redis.client.delete(FILLING)  # as its expiry does
    start()

    with pytest.raises(RedisError):
        merge([Change(KEY, in_an_hour(), 5)], name)
    assert text_of() is None


def test_memory_lost_in_the_middle_of_a_fill_is_not_whole(context):
    redis.client.flushall()
    name = start()
    merge([Change(KEY, in_an_hour(), 5)], name)
    redis.client.flushall()

    assert not finish(name)


def test_each_page_keeps_the_fill_alive(context):
    redis.client.flushall()
    name = start()
    redis.client.expire(FILLING, 1)
    merge([], name)

    assert redis.client.ttl(FILLING) > 1


def test_fill_of_another_server_does_not_hold_up_this_ones(context):
    redis.client.flushall()
    redis.client.set(FILLING, "name:1:2:run_id:replication_id", ex=HOUR)

    assert blocklist_refill.fill()


def test_library_decorator_asks_the_same(make_app, alice, bob):
    app = make_app()
    app.add_url_rule("/theirs", view_func=jwt_required()(lambda: "in"))
    client = app.test_client()
    client.post(f"{AUTH}/logout", headers=alice.headers)

    statuses = [client.get("/theirs", headers=who.headers).status_code for who in (alice, bob)]
    with app.app_context():
        redis.client.flushall()
    forgotten = [client.get("/theirs", headers=who.headers).status_code for who in (alice, bob)]

    assert statuses == forgotten == [401, 200]
