"""Requests a second, CPU and latency under gunicorn, by worker kind and number of threads.

64 connections of wrk, on the same machine: it takes its share of the cores.
"""

import json
import re
import shutil
import subprocess
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.report import Bound, table
from benchmarks.servers import (
    Deployment,
    Served,
    catalogue,
    delete_posted,
    deployment,
    execute,
    gunicorn,
    import_file,
    requests,
)

CLIENTS = 64
KINDS = {
    "sync": ("-k", "sync", "--threads", "1"),
    **{f"gthread, {n} threads": ("-k", "gthread", "--threads", str(n)) for n in (2, 6)},
}
SHIPPED = "as shipped"
COLUMNS = ("requests/s", "cpu", "median", "p99")
UNITS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}
REPORT = r"50%\s+([\d.]+)(us|ms|s|m)\s.*99%\s+([\d.]+)(us|ms|s|m)\s.*?(\d+) requests in ([\d.]+)s"


def measure(quick: bool) -> dict[str, Any]:
    """Return, for each configuration and request, what wrk and /proc say: medians of rounds.

    All configurations run from begin to end, and take turns: no moment of the machine is one's.
    """
    if shutil.which("wrk") is None:
        return {"not measured": "there is no wrk on PATH (Debian: apt-get install wrk)"}
    seconds, rounds = (1, 1) if quick else (2, 5)
    loads: dict[str, dict[str, list[dict[str, float]]]] = {}
    with deployment() as place, ExitStack() as stack:
        import_file(catalogue(), place.user_id)
        execute("VACUUM ANALYZE")
        one, page, post = requests()
        floor = "the floor, as shipped"
        servers = {
            SHIPPED: stack.enter_context(gunicorn(place)),
            **{
                kind: stack.enter_context(gunicorn(place, *options))
                for kind, options in KINDS.items()
            },
            floor: stack.enter_context(gunicorn(place, target="benchmarks.floor:app")),
        }
        for _ in range(rounds):
            for kind, served in servers.items():
                for name, *request in (one, page) if kind in KINDS else (one, page, post):
                    found = load(place, served, seconds, *request)
                    loads.setdefault(kind, {}).setdefault(name, []).append(found)
            delete_posted()
    return {
        kind: {
            name: {column: median(each[column] for each in found) for column in COLUMNS}
            for name, found in of_kind.items()
        }
        for kind, of_kind in loads.items()
    }


def load(
    place: Deployment, served: Served, seconds: int, method: str, path: str, body: Any
) -> dict[str, float]:
    """Send as many requests as the server takes, from CLIENTS connections."""
    url = f"http://127.0.0.1:{served.port}"
    wrk(place, url, 1, method, path, body)  # warms up
    before = served.cpu_seconds()
    said = wrk(place, url, seconds, method, path, body)
    return said | {"cpu": (served.cpu_seconds() - before) / said["count"] * 1e6}


def wrk(
    place: Deployment,
    url: str,
    seconds: int,
    method: str,
    path: str,
    body: Any,
    clients: int = CLIENTS,
) -> dict[str, float]:
    """Return how many requests were answered, how many a second, and the milliseconds of one."""
    script = place.folder / "request.lua"
    headers = {"Authorization": f"Bearer {place.token}", "Content-Type": "application/json"}
    lines = [f"wrk.headers[{name!r}] = {value!r}" for name, value in headers.items()]
    lines += [f"wrk.method = {method!r}", f"wrk.body = {json.dumps(body)!r}" if body else ""]
    script.write_text("\n".join(lines))
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "--latency"]
    command += ["-s", str(script), url + path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not re.search("Non-2xx|Socket errors", said), said
    match = re.search(REPORT, said, re.DOTALL)
    assert match, said
    middle, middle_unit, p99, p99_unit, count, took = match.groups()
    return {
        "count": int(count),
        "requests/s": int(count) / float(took),
        "median": float(middle) * UNITS[middle_unit],
        "p99": float(p99) * UNITS[p99_unit],
    }


def describe(result: dict[str, Any]) -> str:
    if "not measured" in result:
        return f"Not measured: {result['not measured']}.\n"
    return table(
        ("configuration", "request", "requests/s", "CPU, µs", "median, ms", "99th percentile, ms"),
        [
            (kind, request, *(values[column] for column in COLUMNS))
            for kind, requests in result.items()
            for request, values in requests.items()
        ],
    )


def bounds(result: dict[str, Any]) -> list[Bound]:
    return []  # two threads answer more, and two slow requests would stop a process
