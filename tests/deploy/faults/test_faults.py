"""Faults under load: nothing acknowledged is lost or doubled, and the service mends itself.

`make reliability` writes what was seen to docs/reliability.md.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from os import geteuid
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from books_api.database import autocommit
from books_api.extensions import db
from development.embedded import Redis
from tests.deploy.conftest import Nginx, start_gunicorn
from tests.deploy.faults.conftest import audit
from tests.deploy.faults.load import Load
from tests.deploy.faults.report import section_report
from tests.helpers import execute
from tests.processes import TIMEOUT, wait_until

pytestmark = pytest.mark.deploy

STEADY = 2.0  # seconds
WAIT_MAX = 12.0  # the time-outs of one request taken together
RECOVERY_MAX = 3.0
ROWS: dict[str, str] = {}


@contextmanager
def fault(name: str, app: Flask, nginx: Nginx, tokens: list[str], **options: int) -> Iterator[Load]:
    """Keep up a load while the body breaks something and mends it; judge what came of it."""
    # As if the last fault were long ago: a second Redis in 15 seconds would wait for its turn.
    execute(app, "UPDATE blocklist_copy SET held_until = clock_timestamp()")
    with Load(nginx.client, tokens, **options) as load:
        time.sleep(STEADY)
        assert not load.failures(), load.seen()
        yield load
        mended = time.monotonic()
        time.sleep(2 * STEADY)
    lost, doubled = audit(app, load)
    recovery = load.recovery(mended)
    ROWS[name] = (
        f"| {name} | {load.seen()} | {load.longest_wait():.1f} s | {recovery:.1f} s"
        f" | {len(load.ledger)} | {lost} | {doubled} |"
    )
    assert len(load.ledger) > 50
    assert (lost, doubled, load.intruders) == (0, 0, 0)
    assert {event.outcome for event in load.failures()} <= {409, 502, 503, 504}
    assert all(event.retry_after for event in load.failures())
    assert load.longest_wait() < WAIT_MAX
    assert recovery < RECOVERY_MAX


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    """Write the table to the page when asked for by REPORT=1."""
    yield
    section_report("faults", ROWS.values())


@contextmanager
def held(app: Flask, statement: str) -> Iterator[None]:
    """A transaction of somebody else that holds what the statement locks."""
    with app.app_context(), db.engine.connect() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text(statement))
        yield
        connection.rollback()


def test_sigkill_of_the_workers_in_mid_request(app, nginx, gunicorn, tokens):
    with fault("SIGKILL of both workers in mid-request", app, nginx, tokens):
        with held(app, "LOCK TABLE books IN EXCLUSIVE MODE"):  # writes wait, in mid-request
            time.sleep(0.5)
            old = gunicorn.workers()
            for pid in old:
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not set(old) & set(gunicorn.workers()) and len(gunicorn.workers()) == 2)


def test_sighup_fails_no_request(app, nginx, gunicorn, tokens):
    name = "SIGHUP (reload)"
    with fault(name, app, nginx, tokens) as load:
        old = gunicorn.workers()
        gunicorn.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not set(old) & set(gunicorn.workers()))

    assert load.failures() == []


def test_sigterm_finishes_what_is_in_flight(app, nginx, gunicorn, tokens, folder, settings):
    with ExitStack() as stack, fault("SIGTERM, and started again", app, nginx, tokens) as load:
        gunicorn.process.send_signal(signal.SIGTERM)
        assert gunicorn.process.wait(TIMEOUT) == 0
        stack.enter_context(start_gunicorn(folder, settings, port=gunicorn.port))

    assert load.replayed == 0  # no write was done without its answer


def test_postgres_killed_and_started_again(app, nginx, postgres, tokens):
    with fault("Postgres: `stop -m immediate`, 1 s, start", app, nginx, tokens):
        postgres.stop("immediate")
        time.sleep(1)
        postgres.start()


def forget(redis: Redis, folder: Path) -> None:
    redis.kill()
    data = folder / "faults" / "redis"
    shutil.rmtree(data / "appendonlydir", ignore_errors=True)  # Redis 7
    (data / "appendonly.aof").unlink(missing_ok=True)


def test_redis_killed_and_started_again_empty(app, nginx, redis, tokens, folder):
    with fault("Redis: SIGKILL, 1 s, started empty", app, nginx, tokens):
        forget(redis, folder)
        time.sleep(1)
        redis.start()


def test_postgres_and_redis_killed_at_once(app, nginx, postgres, redis, tokens, folder):
    with fault("Both of these at once", app, nginx, tokens):
        postgres.stop("immediate")
        forget(redis, folder)
        time.sleep(1)
        redis.start()
        postgres.start()


def test_a_pool_of_2_with_64_clients(app, start_nginx, tokens, folder, settings):
    with (
        start_gunicorn(folder, settings, DATABASE_POOL_SIZE="2") as gunicorn,
        start_nginx(gunicorn.port) as nginx,
        fault(
            "A pool of 2, 64 clients, a lock of 3 s", app, nginx, tokens, readers=32, writers=31
        ) as load,
        held(app, "LOCK TABLE books IN ACCESS EXCLUSIVE MODE"),
    ):
        time.sleep(3)

    assert 503 in {event.outcome for event in load.failures()}


def test_a_stuck_lock(app, nginx, tokens):
    with (
        fault("A lock on the table for 6 s", app, nginx, tokens) as load,
        held(app, "LOCK TABLE books IN ACCESS EXCLUSIVE MODE"),
    ):
        time.sleep(6)

    assert 503 in {event.outcome for event in load.failures()}


@pytest.fixture
def small_disk(app: Flask, folder: Path) -> Iterator[Path]:
    """Put the books on a file system of 16 MiB."""
    disk = folder / "disk"
    disk.mkdir()
    if geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    command = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "none", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    owner = (folder / "faults" / "postgres").stat()
    os.chown(disk, owner.st_uid, owner.st_gid)
    try:
        with app.app_context(), autocommit() as connection:
            connection.execute(text(f"CREATE TABLESPACE small LOCATION '{disk}'"))
            connection.execute(text("TRUNCATE books"))  # its free space would do for a while
            connection.execute(text("ALTER TABLE books SET TABLESPACE small"))
        yield disk
        with app.app_context(), autocommit() as connection:
            connection.execute(text("ALTER TABLE books SET TABLESPACE pg_default"))
            connection.execute(text("DROP TABLESPACE small"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_full(app, nginx, tokens, small_disk):
    with fault("The table's disk is full for 3 s", app, nginx, tokens) as load:
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        time.sleep(3)
        filler.unlink()

    assert 503 in {event.outcome for event in load.failures()}
