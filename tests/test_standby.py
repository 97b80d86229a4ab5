"""DATABASE_READ_URL: a standby answers lists, and nobody notices that it is late or gone."""

import os
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from flask import g
from prometheus_client import REGISTRY

from books_api import standby as standby_module
from books_api.auth import blocklist, blocklist_lease, blocklist_refill, revocation
from books_api.books import lists
from books_api.config import database_url
from books_api.extensions import db, redis
from books_api.observability import doctor
from books_api.standby import LATE_MAX
from development.standby import Standby
from tests.helpers import BOOKS, ME, MOMO, execute, within
from tests.processes import wait_until

LATE = ["/", "/?q=momo", "/?count=true", "/?count=exact&q=momo", "/user/{user}", "/export"]
EVERYBODY = blocklist.PREFIX + blocklist.MARKS
NEVER_LATE = ["/{book}", "/changes", "/?cursor={cursor}"]


@pytest.fixture(scope="module")
def server(servers):
    """A standby that streams from the primary."""
    with tempfile.TemporaryDirectory(prefix="books-") as folder:
        standby = Standby(Path(folder), servers.postgres)
        standby.start()
        yield standby
        standby.stop("immediate")


@pytest.fixture
def standby(server):
    """The standby, which runs and replays again afterwards."""
    yield server
    server.start()
    tell(server, "SELECT pg_wal_replay_resume() WHERE pg_is_wal_replay_paused()")


@pytest.fixture
def make_reader(make_app, settings, standby):
    """Make an application that reads from the standby, and does so now."""
    made = []
    options = "&options=-c%20synchronous_commit%3Don"  # or what is committed is not sent at once

    def make(**changes):
        url = database_url(standby.url, "standby")
        changes = {"database_read_url": url} | changes
        app = make_app(database_url=settings.database_url + options, **changes)
        made.append(app)
        if changes["database_read_url"] == url:
            wait_until(lambda: is_read(app), 20)
        with app.app_context():  # a fill has been just now, perhaps
            wait_until(lambda: not redis.client.exists(EVERYBODY), 20)
        return app

    yield make
    for app in made:
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()


@pytest.fixture
def reader(make_reader):
    return make_reader()


@pytest.fixture
def reads(reader, alice, make_book):
    """Send a GET of Alice's, and return how many statements the standby and the primary ran."""
    make_book(alice, **MOMO)
    make_book(alice)
    client = reader.test_client()
    page = client.get(f"{BOOKS}/?limit=1", headers=alice.headers)
    book = page.json[0]["id"]
    cursor = page.headers["Link"].partition("cursor=")[2].partition(">")[0]

    def reads(path, status=200):
        wait_until(lambda: is_read(reader), 20)
        before = answered()
        url = BOOKS + path.format(user=alice.id, book=book, cursor=cursor)
        answer = client.get(url, headers=alice.headers, buffered=True)
        assert answer.status_code == status, answer.text
        return {name: count - before[name] for name, count in answered().items()}

    return reads


def is_read(app):
    with app.app_context():
        app.extensions["standby"].probe()
    return app.extensions["standby"].fault == ""


def answered():
    name = "books_api_late_reads_total"
    return {
        server: REGISTRY.get_sample_value(name, {"server": server}) or 0
        for server in ("standby", "primary")
    }


def tell(server, statement):
    with closing(psycopg2.connect(server.url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def warm_up(client, account):
    """Read until the standby answers: of the log, or of Redis, too little may be known yet."""

    def is_answered():
        before = answered()["standby"]
        titles(client, account)
        return answered()["standby"] > before

    wait_until(is_answered, 20)


def titles(client, account, path="/"):
    response = client.get(BOOKS + path, headers=account.headers)
    assert response.status_code == 200, response.text
    return [book["title"] for book in response.json]


def pids(server):
    folder = server.url.partition("host=")[2].partition("&")[0].replace("%2F", "/")
    postmaster = int(Path(folder, "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


@contextmanager
def frozen(server):
    processes = pids(server)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("path", LATE)
def test_standby_answers_all_of_a_list(reads, path):
    def answers_all():
        found = reads(path)
        return found["standby"] > 0 == found["primary"]

    wait_until(answers_all, 20)  # what is known of Redis and of the log may be too old at first


@pytest.mark.parametrize("path", NEVER_LATE)
def test_standby_answers_nothing_that_must_not_be_late(reads, path):
    assert reads(path) == {"standby": 0, "primary": 0}


def test_account_is_read_from_the_primary(reader, alice):
    before = answered()

    assert reader.test_client().get(ME, headers=alice.headers).status_code == 200

    assert answered() == before


WRITES = [
    ("POST", "/", {"json": {"title": "Jim Knopf", "author": "Michael Ende"}}),
    pytest.param("PATCH", "/{book}", {"json": {"title": "Jim Knopf"}}, marks=pytest.mark.long),
    pytest.param(
        *("POST", "/import"),
        {"data": "title,author\nJim Knopf,Ende\n", "content_type": "text/csv"},
        marks=pytest.mark.long,
    ),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_own_write_is_found_at_once_by_another_process(
    make_reader, standby, alice, make_book, method, path, body
):
    writer, other = make_reader(), make_reader()
    book = make_book(alice)
    warm_up(other.test_client(), alice)
    tell(standby, "SELECT pg_wal_replay_pause()")

    answer = writer.test_client().open(
        BOOKS + path.format(book=book["id"]), method=method, headers=alice.headers, **body
    )
    end = time.monotonic() + 1.5 * LATE_MAX
    found = []
    while time.monotonic() < end:
        found.append("Jim Knopf" in titles(other.test_client(), alice))

    assert answer.status_code in (200, 201)
    assert all(found)


def test_own_deletion_is_seen_at_once_by_another_process(make_reader, standby, alice):
    writer, other = make_reader().test_client(), make_reader().test_client()
    book = writer.post(f"{BOOKS}/", json=MOMO, headers=alice.headers).json
    warm_up(other, alice)  # so the standby has it
    tell(standby, "SELECT pg_wal_replay_pause()")

    writer.delete(f"{BOOKS}/{book['id']}", headers=alice.headers)

    assert titles(other, alice) == []


def test_what_others_write_is_late_by_no_more_than_the_bound(
    make_reader, reader, standby, alice, bob
):
    client, other = reader.test_client(), make_reader().test_client()
    warm_up(client, alice)
    tell(standby, "SELECT pg_wal_replay_pause()")
    other.post(f"{BOOKS}/", json=MOMO, headers=bob.headers)

    begun = time.monotonic()
    seen = {}
    while (age := time.monotonic() - begun) < 1.5 * LATE_MAX:
        seen[age] = titles(client, alice) == ["Momo"]

    assert not next(iter(seen.values()))  # the standby has answered
    assert all(found for age, found in seen.items() if age > LATE_MAX)


def test_standby_that_is_late_is_logged_once(reader, standby, alice, bob, make_book, lines):
    client = reader.test_client()
    warm_up(client, alice)
    tell(standby, "SELECT pg_wal_replay_pause()")
    make_book(bob)
    wait_until(lambda: titles(client, alice) and lines("books_api.standby"), 20)
    for _ in range(20):
        titles(client, alice)

    [line] = lines("books_api.standby")

    assert "replayed" in line["message"]


def test_standby_that_has_caught_up_is_read_from_again(reader, standby, alice, bob, make_book):
    client = reader.test_client()
    tell(standby, "SELECT pg_wal_replay_pause()")
    make_book(bob)
    wait_until(lambda: titles(client, alice) and reader.extensions["standby"].fault, 20)

    tell(standby, "SELECT pg_wal_replay_resume()")

    wait_until(lambda: titles(client, alice) and not reader.extensions["standby"].fault, 20)


def test_no_read_fails_when_the_standby_is_killed(reader, standby, alice, make_book):
    make_book(alice)
    client = reader.test_client()
    warm_up(client, alice)

    standby.stop("immediate")

    assert [titles(client, alice) for _ in range(20)] == [["The Hobbit"]] * 20


def test_standby_that_was_slow_is_left_alone_though_it_answers_a_probe(reader, alice, make_book):
    make_book(alice)
    client = reader.test_client()
    warm_up(client, alice)
    standby = reader.extensions["standby"]
    with reader.app_context(), within(2.5):
        g.late = True
        assert standby.rows("SELECT pg_sleep(4)", {}) is None

        standby.probe()

    assert "statement timeout" in standby.fault
    assert titles(client, alice) == ["The Hobbit"]


def test_export_is_whole_when_the_standby_is_killed_in_the_midst_of_it(
    reader, standby, alice, monkeypatch
):
    monkeypatch.setattr(lists, "ITERATED", 1)
    client, export = reader.test_client(), []
    posted = [client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers) for _ in range(3)]
    books = [response.json["id"] for response in posted]

    def is_begun_by_the_standby():
        warm_up(client, alice)
        before = answered()["standby"]
        export[:] = client.get(f"{BOOKS}/export", headers=alice.headers).iter_encoded(), []
        export[1] += [next(export[0]), next(export[0])]  # the header, and a book
        return answered()["standby"] > before

    wait_until(is_begun_by_the_standby, 20)
    before = answered()["primary"]
    standby.stop("immediate")

    pieces, head = export
    text = b"".join([*head, *pieces]).decode()

    assert [text.count(book) for book in books] == [1] * 3
    assert answered()["primary"] > before


@pytest.mark.long
def test_no_read_fails_or_waits_long_when_the_standby_is_frozen(reader, standby, alice, make_book):
    make_book(alice)
    warm_up(reader.test_client(), alice)
    longest = []

    def read(_):
        client, end = reader.test_client(), time.monotonic() + 6
        while time.monotonic() < end:
            begun = time.monotonic()
            assert titles(client, alice) == ["The Hobbit"]
            longest.append(time.monotonic() - begun)
            time.sleep(0.05)

    with frozen(standby), ThreadPoolExecutor(4) as threads:
        list(threads.map(read, range(4)))

    assert max(longest) < 4
    warm_up(reader.test_client(), alice)


def test_standby_that_does_not_answer_at_the_start_is_not_missed(make_reader, alice, make_book):
    make_book(alice)
    app = make_reader(database_read_url="postgresql+psycopg2://nobody@127.0.0.1:1/books")

    assert titles(app.test_client(), alice) == ["The Hobbit"]


def test_primary_is_no_standby(make_reader, settings, alice, make_book):
    app = make_reader(database_read_url=f"{settings.database_url}&target_session_attrs=any")
    with app.app_context():
        app.extensions["standby"].probe()

    assert "standby: f" in app.extensions["standby"].fault


def test_standby_of_another_timeline_is_refused(reader, standby, monkeypatch):
    demanded = standby_module.DEMAND.replace("%(end_timeline)s", "%(end_timeline)s + 1")
    monkeypatch.setattr(standby_module, "DEMAND", demanded)
    reader.extensions["standby"].fault = None

    assert not is_read(reader)
    assert "timeline" in reader.extensions["standby"].fault


def test_refusal_of_a_search_is_the_standbys_own(reads, standby, alice):
    with closing(psycopg2.connect(standby.url)) as connection:
        lock = (
            "SELECT pg_advisory_xact_lock(hashtextextended('slot ' || %s, generate_series(1, 4)))"
        )
        connection.cursor().execute(lock, [alice.id])

        found = reads("/?q=momo", status=429)

    assert found["primary"] == 0


def test_list_of_a_user_who_has_just_signed_up_is_empty(reader, standby, alice, make_user):
    warm_up(reader.test_client(), alice)
    tell(standby, "SELECT pg_wal_replay_pause()")
    carol = make_user(username="carol")

    assert titles(reader.test_client(), alice, f"/user/{carol.id}") == []


def test_everybody_reads_from_the_primary_after_redis_has_lost_its_memory(reader, standby, alice):
    client = reader.test_client()
    warm_up(client, alice)
    tell(standby, "SELECT pg_wal_replay_pause()")
    client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers)
    with reader.app_context():
        redis.client.flushall()
        wait_until(blocklist_refill.fill, 20)

    assert titles(client, alice) == ["Momo"]


@pytest.mark.parametrize("fault", ["another Redis is named", "no Redis is named", "it refuses"])
def test_write_that_cannot_be_marked_is_answered_later(reader, alice, monkeypatch, fault):
    waits = []
    monkeypatch.setattr(revocation.time, "sleep", waits.append)
    with reader.app_context():
        if fault == "it refuses":
            redis.client.config_set("maxmemory", 1)
        else:
            name = "token:other:server" if fault.startswith("another") else ""
            execute(reader, f"UPDATE blocklist_copy SET name = '{name}'")
            blocklist_lease.ask()
        revocation.mark(alice.id)
        redis.client.config_set("maxmemory", 0)

    assert waits == [LATE_MAX]


def test_write_is_answered_without_a_wait(reader, alice):
    client = reader.test_client()
    client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers)

    with within(LATE_MAX):
        client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers)


def test_application_is_ready_without_its_standby(reader, standby):
    standby.stop("immediate")

    assert reader.test_client().get("/readyz").status_code == 200


def test_doctor_is_content_with_a_standby_that_keeps_up(reader):
    with reader.app_context():
        (finding,) = doctor.run([doctor.standby])

    assert finding.ok


def test_doctor_finds_a_standby_that_is_down(reader, standby):
    standby.stop("immediate")
    reader.extensions["standby"].fault = None  # as a new process knows it

    with reader.app_context():
        (finding,) = doctor.run([doctor.standby])

    assert not finding.ok


def test_doctor_finds_a_standby_that_cannot_be_asked_in_time(reader, monkeypatch):
    monkeypatch.setattr(standby_module, "LATE_MAX", 0)  # so long the primary takes, at least
    reader.extensions["standby"].fault = None

    with reader.app_context():
        (finding,) = doctor.run([doctor.standby])

    assert not finding.ok


def test_without_a_standby_nothing_is_marked(app, alice, make_book):
    make_book(alice)

    with app.app_context():
        assert list(redis.client.scan_iter(f"{EVERYBODY}*")) == []
