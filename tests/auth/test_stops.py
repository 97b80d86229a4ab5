"""Whoever writes to Redis is stopped, delayed or repeated at each step: no stolen token gets in.

REPETITIONS says how often each is tried.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

import pytest
from sqlalchemy import text

from books_api.auth import blocklist_refill
from books_api.auth.models import User
from books_api.auth.revocation import revoking
from books_api.extensions import db, redis
from tests.conftest import bearer
from tests.helpers import AUTH, BOOKS, Crash, entry_of, status_of
from tests.processes import ROOT, clean_environ, settings_environ, wait_until
from tests.redis_proxy import RedisProxy

REPETITIONS = int(os.environ.get("REPETITIONS", "1"))
IMPATIENT = "-c idle_in_transaction_session_timeout=500"  # a frozen process is longer frozen


class Puppet:
    """A process of the application, in order to be frozen."""

    def __init__(self, process):
        self._process = process
        self._begun = 0

    def begin(self, order):
        self._begun += 1
        self._process.stdin.write(json.dumps([self._begun, order]) + "\n")
        self._process.stdin.flush()

    def result(self):
        """Return what came of the last order; an earlier one's may be unread."""
        while True:
            number, result = json.loads(self._process.stdout.readline())
            if number == self._begun:
                return result

    def get(self, token):
        self.begin(request("GET", f"{BOOKS}/", token))
        return self.result()

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)


def request(method, path, token):
    return {"method": method, "path": path, "headers": bearer(token)}


@pytest.fixture(scope="module")
def proxy(servers, folder):
    proxy = RedisProxy(folder / "proxy.sock", unquote(urlsplit(servers.redis.url).path))
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def puppet(migrated_app, settings, folder, proxy):
    environ = settings_environ(settings) | {"REDIS_URL": proxy.url}
    environ["DATABASE_URL"] += f"&options={quote(IMPATIENT)}"
    with (
        (folder / "puppet.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.auth.puppet"],
            cwd=ROOT,
            env=clean_environ(folder, **environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        yield Puppet(process)
        process.kill()


@dataclass
class World:
    app: object
    alice: object
    bob: object


@pytest.fixture
def new_world(app, make_user):
    """Make new accounts, of which Alice has logged out before, and a whole copy."""

    def new_world():
        with app.app_context():
            redis.client.flushall()
            for table in ("users", "revocations"):
                db.session.execute(text(f"DELETE FROM {table}"))
            db.session.commit()
            wait_until(blocklist_refill.fill)
        world = World(app, make_user(), make_user())
        log_out_everywhere(app.test_client(), world.alice.access_token)
        return world

    return new_world


def log_out_everywhere(client, token):
    response = client.post(f"{AUTH}/logout-all", headers=bearer(token))
    assert response.status_code == 200


# What the process does.


def fill(world, token):
    forget(world)


def end_a_session(world, token):
    return request("POST", f"{AUTH}/logout", token)


def raise_the_epoch(world, token):
    return request("POST", f"{AUTH}/logout-all", token)


def end_a_pending(world, token):
    crash(world, commit=False)
    return request("GET", f"{BOOKS}/", token)


def end_a_pending_of_a_commit(world, token):
    crash(world, commit=True)
    return request("GET", f"{BOOKS}/", token)


def crash(world, *, commit):
    with world.app.app_context(), suppress(Crash):
        db.session.get(User, UUID(world.alice.id)).token_epoch = 2
        with revoking([entry_of(world.alice.access_token, "epoch", 2)], "logout"):
            if commit:
                db.session.commit()
            raise Crash


# What happens meanwhile.


def forget(world):
    with world.app.app_context():
        redis.client.flushall()


def make_whole(world):
    with world.app.app_context():
        wait_until(blocklist_refill.fill)


def nothing(world):
    pass


# What the process sends to Redis: its identity is asked, START, a page, FINISH; MGET, pendings,
# values; MGET, a value.
STEPS = [
    (work, step)
    for work, steps in (
        (fill, 4),
        (end_a_session, 3),
        (raise_the_epoch, 3),
        (end_a_pending, 2),
        (end_a_pending_of_a_commit, 2),
    )
    for step in range(1, steps + 1)
]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (nothing, nothing),
        pytest.param(forget, nothing, marks=pytest.mark.long),
        pytest.param(nothing, forget, marks=pytest.mark.long),
        pytest.param(forget, make_whole, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    ("what", "freezes"),
    [("request", False), ("copy", False), ("request", True), ("reply", True)],
    ids=["late", "twice", "frozen before", "frozen after"],
)
@pytest.mark.parametrize(("work", "step"), STEPS)
def test_stolen_token_stays_out(
    new_world, proxy, puppet, open_session, work, step, what, freezes, before, after
):
    let_in = 0
    for _ in range(REPETITIONS):
        world = new_world()
        client = world.app.test_client()
        puppet.get(world.bob.access_token)  # connects
        order = work(world, open_session(world.alice).access_token)
        proxy.watch(step, what)
        puppet.begin(order)
        assert proxy.reached.wait(5), puppet.result()
        if freezes:
            puppet.freeze()
        else:
            puppet.result()
        stolen = open_session(world.alice).access_token
        before(world)
        log_out_everywhere(client, stolen)
        after(world)
        proxy.release()
        if freezes:
            puppet.thaw()
            puppet.result()
        proxy.watch(0)

        let_in += {status_of(client, stolen), puppet.get(stolen)} != {401}
        assert status_of(client, world.bob.access_token) == 200
    assert let_in == 0, f"{let_in} of {REPETITIONS}"
