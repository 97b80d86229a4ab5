"""The slowest GETs: idle, and while other work is under way; and logins, many at once.

One GET follows the other, each on a new connection, until the work ends.
"""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from statistics import median, quantiles
from typing import Any

import psycopg2

from benchmarks import generated
from benchmarks.report import Bound, table
from benchmarks.servers import (
    EMAIL,
    PASSWORD,
    TIMEOUT,
    Deployment,
    Served,
    catalogue,
    deployment,
    execute,
    gunicorn,
    import_file,
    requests,
    spawn,
)
from benchmarks.transfer import write
from books_api import PREFIX
from books_api.auth.blocklist import FRESH, MARKER
from books_api.extensions import redis

CLIENTS = 8
RECORDS, REVOCATIONS = 50_000, 300_000
LEDGER = """
    INSERT INTO revocations (key, value, expires_at)
    SELECT 'sid:' || gen_random_uuid(), 1, now() + interval '1 day' FROM generate_series(1, :rows)
"""
# Autovacuum's own pace (autovacuum_vacuum_cost_delay), on rows that no trigger has seen go.
DELETED = "DELETE FROM books WHERE isbn LIKE '%2'"
VACUUM = "SET vacuum_cost_delay = '2ms'; SET statement_timeout = 0"

Busy = Callable[[], bool]


def measure(quick: bool) -> dict[str, Any]:
    """Return the milliseconds of GETs beside each kind of work, and what became of logins."""
    seconds, records, revocations = (2, 5_000, 20_000) if quick else (15, RECORDS, REVOCATIONS)
    with deployment() as place:
        file = place.folder / "catalogue.csv"
        write(file, records, generated.real_books(place.user_id))
        import_file(catalogue(), place.user_id)
        execute(LEDGER, rows=revocations)
        execute("VACUUM ANALYZE")
        with gunicorn(place) as served:
            path = requests()[0][2]
            statuses: list[int] = []
            _get_while(lambda: not redis.client.exists(MARKER), served, path, place.token)
            works = {
                "idle": lasting(seconds),
                "an import": importing(place, str(file)),
                "autovacuum": vacuuming(place),
                "logins": logging_in(served.port, seconds, statuses),
                "reload": reloading(served, seconds),
                "refresh": filling(FRESH, partial(redis.client.delete, FRESH)),
                "loss": filling(MARKER, partial(redis.client.flushall, asynchronous=True)),
            }
            times = {}
            for name, work in works.items():
                with work as busy:
                    times[name] = _get_while(busy, served, path, place.token)
            with ThreadPoolExecutor(CLIENTS) as pool:
                begun = time.monotonic()
                at_once = list(pool.map(log_in, [served.port] * CLIENTS))
                slowest = time.monotonic() - begun
    return {
        "times": {
            name: {
                "median": median(each) * 1000,
                "p99": quantiles(each, n=100)[98] * 1000,
                "longest": max(each) * 1000,
            }
            for name, each in times.items()
        },
        "logins/s": statuses.count(200) / seconds,
        "refused": len(statuses) - statuses.count(200),
        "at once": at_once.count(200),
        "slowest": slowest,
    }


def _get_while(busy: Busy, served: Served, path: str, token: str) -> list[float]:
    times = []
    while busy():
        times += served.get_for(0.1, path, token)
    return times


@contextmanager
def lasting(seconds: float) -> Iterator[Busy]:
    end: list[float] = []  # begins with the first question

    def busy() -> bool:
        end[:] = end or [time.monotonic() + seconds]
        return time.monotonic() < end[0]

    yield busy


@contextmanager
def importing(place: Deployment, file: str) -> Iterator[Busy]:
    command = ["flask", "--app", "wsgi", "books", "import", file, "--owner", EMAIL, "--quiet"]
    process = spawn(place, *command)
    yield lambda: process.poll() is None


@contextmanager
def vacuuming(place: Deployment) -> Iterator[Busy]:
    with closing(psycopg2.connect(place.environ["DATABASE_URL"])) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(VACUUM)
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(DELETED)
        thread = threading.Thread(target=cursor.execute, args=("VACUUM books",))
        thread.start()
        yield thread.is_alive
        thread.join()


@contextmanager
def logging_in(port: int, seconds: float, statuses: list[int]) -> Iterator[Busy]:
    end = time.monotonic() + seconds

    def log_in_again() -> None:
        while time.monotonic() < end:
            statuses.append(log_in(port))

    threads = [threading.Thread(target=log_in_again) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    yield lambda: time.monotonic() < end
    for thread in threads:
        thread.join()


def log_in(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    body = json.dumps({"email": EMAIL, "password": PASSWORD})
    headers = {"Content-Type": "application/json"}
    connection.request("POST", f"{PREFIX}/auth/login", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@contextmanager
def reloading(served: Served, seconds: float) -> Iterator[Busy]:
    os.kill(served.pid, signal.SIGHUP)
    with lasting(seconds) as busy:
        yield busy


@contextmanager
def filling(key: str, forget: Callable[[], Any]) -> Iterator[Busy]:
    forget()
    yield lambda: not redis.client.exists(key)


NAMES = {
    "idle": "nothing",
    "an import": f"`flask books import` of {RECORDS:,} books",
    "autovacuum": "autovacuum of these, a tenth of them deleted",
    "logins": f"logins of {CLIENTS} clients at full tilt",
    "reload": "all workers replaced (SIGHUP)",
    "refresh": f"{REVOCATIONS:,} revocations copied to Redis anew",
    "loss": "the same after Redis has lost them",
}

# What held on three runs.
BOUNDED = ("an import", "autovacuum", "reload", "refresh")


def describe(result: dict[str, Any]) -> str:
    idle = result["times"]["idle"]["p99"]
    shown = table(
        ("meanwhile", "median, ms", "99th percentile, ms", "over idle", "longest, ms"),
        [
            (NAMES[name], each["median"], each["p99"], each["p99"] / idle, each["longest"])
            for name, each in result["times"].items()
        ],
    )
    return (
        f"{shown}\n{result['logins/s']:.1f} logins a second at full tilt, {result['refused']}"
        f" refused (503). Of {CLIENTS} at once {result['at once']} are let in, the last"
        f" after {result['slowest']:.1f} s.\n"
    )


def bounds(result: dict[str, Any]) -> list[Bound]:
    p99 = {name: each["p99"] for name, each in result["times"].items()}
    return [
        *(Bound(f"p99 of GETs over idle, {NAMES[n]}", p99[n] / p99["idle"], 3) for n in BOUNDED),
        Bound(f"logins let in of {CLIENTS} at once", result["at once"], least=CLIENTS),
    ]
