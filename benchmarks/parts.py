"""CPU of a request as shipped, from nginx to Postgres, part by part.

The kernel counts the CPU of processes. What runs inside gunicorn's workers is told apart by rungs:
each serves the same answers with one part more, and a part is the difference to the rung below.
"""

import shutil
from collections import Counter
from contextlib import ExitStack
from typing import Any

from sqlalchemy import text

from benchmarks.report import Bound, table
from benchmarks.served import wrk
from benchmarks.servers import (
    catalogue,
    cpu_seconds,
    delete_posted,
    deployment,
    execute,
    gunicorn,
    import_file,
    requests,
    tree,
)
from books_api.database import autocommit
from books_api.extensions import redis
from tests.deploy.conftest import find_nginx, make_certificate, running_nginx

RUNGS = {
    "gunicorn": "benchmarks.rungs:bare",
    "Flask's dispatch": "benchmarks.rungs:build(1)",
    "redis-py": "benchmarks.rungs:build(2)",
    "psycopg2": "benchmarks.rungs:build(3)",
    "the application": "wsgi:app",
}
CLIENTS = 32
KINDS = ("user", "system")


def measure(quick: bool) -> dict[str, Any]:
    """Return the microseconds of each part of each request, in user space and in the kernel."""
    if find_nginx() is None or shutil.which("wrk") is None:
        return {"not measured": "there is no nginx, or no wrk, on PATH"}
    seconds, rounds = (1, 1) if quick else (1, 7)
    spent: dict[str, dict[str, Counter[Any]]] = {}
    with deployment() as place, ExitStack() as stack:
        import_file(catalogue(), place.user_id)
        execute("VACUUM ANALYZE")
        certificate = make_certificate(place.folder)
        rungs = {}
        for name, target in RUNGS.items():
            served = stack.enter_context(gunicorn(place, target=target))
            proxy = running_nginx(place.folder, certificate, served.port, name="127.0.0.1")
            rungs[name] = served.pid, stack.enter_context(proxy)
        for turn in range(rounds + 1):  # the first warms up
            for name, (pid, nginx) in rungs.items():
                for request, method, path, body in requests():
                    url = f"https://127.0.0.1:{nginx.port}"
                    before = used(pid, nginx.pid)
                    count = wrk(place, url, seconds, method, path, body, CLIENTS)["count"]
                    after = used(pid, nginx.pid)
                    if turn:
                        total = spent.setdefault(request, {}).setdefault(name, Counter())
                        total.update(after | {"requests": count})
                        total.subtract(before)
            delete_posted()
    return {request: in_parts(of_request) for request, of_request in spent.items()}


def used(pid: int, nginx: int) -> Counter[Any]:
    """Return the microseconds of gunicorn, nginx and the servers behind, of both kinds."""
    with autocommit() as connection:
        backends = list(connection.scalars(text("SELECT pid FROM pg_stat_activity")))
    pids = {
        "nginx": tree(nginx),
        "gunicorn": tree(pid),
        "Redis": [redis.client.info()["process_id"]],
        "Postgres": backends,
    }
    total: Counter[Any] = Counter()
    for part, each in pids.items():
        for process in each:
            for kind, seconds in zip(KINDS, cpu_seconds(process), strict=True):
                total[part, kind] += round(seconds * 1e6)
    return total


def in_parts(rungs: dict[str, Counter[Any]]) -> dict[str, list[float]]:
    """Return what a rung costs more than the one below; all else is that of the last rung."""
    *_, last = rungs.values()

    def cost(part: str, rung: Counter[Any] = last) -> list[float]:
        return [rung[part, kind] / rung["requests"] for kind in KINDS]

    parts, below = {"nginx": cost("nginx")}, [0.0, 0.0]
    for name, rung in rungs.items():
        above = cost("gunicorn", rung)
        parts[name] = [a - b for a, b in zip(above, below, strict=True)]
        below = above
    return parts | {name: cost(name) for name in ("Redis", "Postgres")}


def describe(result: dict[str, Any]) -> str:
    if "not measured" in result:
        return f"Not measured: {result['not measured']}.\n"
    columns = [(request, kind) for request in result for kind in range(len(KINDS))]
    rows = [
        (part, *(result[request][part][kind] for request, kind in columns))
        for part in next(iter(result.values()))
    ]
    rows.append(
        ("in all", *(sum(row[place] for row in rows) for place in range(1, 1 + len(columns))))
    )
    return table(("CPU, µs", *(f"{request}, {KINDS[kind]}" for request, kind in columns)), rows)


def bounds(result: dict[str, Any]) -> list[Bound]:
    return []
