"""GETs while Redis is filled with a million revocations: after it lost them, and anew."""

import time
from statistics import median, quantiles
from typing import Any

from benchmarks.report import Bound, table
from benchmarks.servers import (
    PAUSE,
    Served,
    catalogue,
    deployment,
    execute,
    gunicorn,
    import_file,
    requests,
)
from books_api.auth.blocklist import FRESH, MARKER
from books_api.extensions import redis

REVOCATIONS = 1_000_000
LEDGER = """
    INSERT INTO revocations (key, value, expires_at)
    SELECT 'sid:' || gen_random_uuid(), 1, now() + interval '1 day' FROM generate_series(1, :rows)
"""


def measure(quick: bool) -> dict[str, dict[str, float]]:
    """Return milliseconds of a GET, and how long the fill took in seconds."""
    with deployment() as place:
        import_file(catalogue(), place.user_id)
        execute(LEDGER, rows=20_000 if quick else REVOCATIONS)
        execute("VACUUM ANALYZE revocations")
        with gunicorn(place) as served:
            path = requests()[0][2]
            _get_until(MARKER, served, path, place.token)
            idle = served.get_for(2 if quick else 20, path, place.token)
            redis.client.delete(FRESH)
            refresh = _get_until(FRESH, served, path, place.token)
            redis.client.flushall(asynchronous=True)
            loss = _get_until(MARKER, served, path, place.token)
    return {
        name: {
            "seconds": sum(times) + PAUSE * len(times),
            "median": median(times) * 1000,
            "p99": quantiles(times, n=100)[98] * 1000,
            "longest": max(times) * 1000,
        }
        for name, times in (("idle", idle), ("refresh", refresh), ("loss", loss))
    }


def _get_until(key: str, served: Served, path: str, token: str) -> list[float]:
    times, looked = [], time.monotonic()
    while True:
        times.append(served.get(path, token))
        time.sleep(PAUSE)
        if time.monotonic() - looked > 0.5:
            looked = time.monotonic()
            if redis.client.exists(key):
                return times


def describe(result: dict[str, Any]) -> str:
    names = {"idle": "no fill", "refresh": "the copy is refreshed", "loss": "after a loss"}
    return table(
        (
            "GET /books/{id} meanwhile",
            "seconds",
            "median, ms",
            "99th percentile, ms",
            "longest, ms",
        ),
        [(names[name], *figures.values()) for name, figures in result.items()],
    )


def bounds(result: dict[str, Any]) -> list[Bound]:
    most = max(result[name]["p99"] for name in ("refresh", "loss"))
    return [Bound("99th percentile of GETs while Redis is filled, ms", most, 100)]
