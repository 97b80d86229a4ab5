"""Where a request's time goes.

A timer interrupts the requests every millisecond of real time and looks at the stack: the
innermost call into a part's package names the part that was at work, or waited for, since the
look before. A part's share of that is its share of the time of a request without the timer.
"""

import linecache
import signal
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from types import FrameType
from typing import Any

from flask_jwt_extended import decode_token

from benchmarks.report import Bound, shown, table
from benchmarks.servers import catalogue, delete_posted, deployment, execute, import_file, requests
from benchmarks.turns import sender

INTERVAL = 0.001  # seconds
# Innermost first: Redis may be asked on behalf of a limit, but not the other way round.
PACKAGES = {
    "redis": "Redis",
    "sqlalchemy": "Postgres",
    "psycopg2": "Postgres",
    "flask_sqlalchemy": "Postgres",
    "jwt": "JWT",
    "flask_jwt_extended": "JWT",
    "marshmallow": "validation",
    "webargs": "validation",
    "flask_smorest": "validation",
    "stdnum": "validation",
    "flask": "framework",
    "werkzeug": "framework",
    "limits": "limits",
    "prometheus_client": "metrics",
}
DRIVER = ("books_api.database", "books_api.deadlines")
OWN = "the application"
PARTS = ("JWT", "Redis", "Postgres", "framework", "JSON", "validation", "limits", "metrics", OWN)


def measure(quick: bool) -> dict[str, Any]:
    """Return the microseconds of each part of each request, and of a token never seen before."""
    count = 100 if quick else 2_000
    with deployment() as place:
        import_file(catalogue(), place.user_id)
        execute("VACUUM ANALYZE")
        requested = {}
        for name, *request in requests():
            send = sender(place.app, *request, place.token)
            whole = median(seconds(send) for _ in range(count))
            looks = sampled(send, count)
            requested[name] = {
                part: whole * 1e6 * looks[part] / sum(looks.values()) for part in PARTS
            }
        delete_posted()
        token = median(seconds(partial(decode_token, place.token)) for _ in range(count)) * 1e6
        return {"requests": requested, "token": token}


def seconds(send: Callable[[], None]) -> float:
    begun = time.perf_counter()
    send()
    return time.perf_counter() - begun


def sampled(send: Callable[[], None], count: int) -> dict[str, float]:
    """Send the request so often; return the seconds of each part."""
    looks = dict.fromkeys(PARTS, 0.0)
    last = time.perf_counter()

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal last
        # Python looks when a call into C returns: the longer it took, the more it counts.
        now = time.perf_counter()
        looks[part(frame)] += now - last
        last = now

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    try:
        for _ in range(count):
            send()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return looks


def part(frame: FrameType | None) -> str:
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in PACKAGES:
            return PACKAGES[package]
        if frame.f_globals["__name__"] in DRIVER:
            return "Postgres"  # the driver is not Python either
        if package == "books_api":
            # orjson is not Python, so it has no frame of its own.
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno or 0)
            return "JSON" if "dumps(" in line or "loads(" in line else OWN
        frame = frame.f_back
    return "framework"


def describe(result: dict[str, Any]) -> str:
    requested = result["requests"]
    rows = [(part, *(values[part] for values in requested.values())) for part in PARTS]
    rows.append(("in all", *(sum(values.values()) for values in requested.values())))
    seen = f"A token that was never seen before costs {shown(result['token'])} µs once."
    return f"{table(('part, µs', *requested), rows)}\n{seen}\n"


def bounds(result: dict[str, Any]) -> list[Bound]:
    return []
