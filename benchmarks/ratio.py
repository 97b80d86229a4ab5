"""CPU time of a request in the application, over that of the floor.

Each application has a process, and they take turns: A B B A is a round, which gives one ratio.
All processes share one core.
"""

import json
import subprocess
import sys
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.report import Bound, table
from benchmarks.servers import (
    ROOT,
    Deployment,
    catalogue,
    delete_posted,
    deployment,
    execute,
    import_file,
    one_core,
    requests,
)

APPLICATIONS = {"application": "wsgi:app", "floor": "benchmarks.floor:app"}
BOUNDS = {"GET /books/{id}": (1.0, 1.15), "GET /books/": (1.0, 1.2), "POST /books/": (1.4, 1.6)}


def measure(quick: bool) -> dict[str, Any]:
    """Return, for each request, the median ratio, and the microseconds of both applications."""
    rounds, count = (3, 40) if quick else (15, 250)
    with one_core(), deployment() as place, ExitStack() as stack:
        import_file(catalogue(), place.user_id)
        execute("VACUUM ANALYZE")
        processes = {
            name: stack.enter_context(application(target, place))
            for name, target in APPLICATIONS.items()
        }
        return {
            name: compare(processes, [*request, place.token], rounds, count)
            for name, *request in requests()
        }


def application(target: str, place: Deployment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.turns", target],
        cwd=ROOT,
        env=place.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the log
        text=True,
    )


def compare(
    processes: dict[str, subprocess.Popen[str]], request: Any, rounds: int, count: int
) -> dict[str, float]:
    def turn(name: str) -> float:
        process = processes[name]
        assert process.stdin
        assert process.stdout
        print(json.dumps([request, count]), file=process.stdin, flush=True)
        return float(process.stdout.readline())

    for name in APPLICATIONS:
        turn(name)  # warms up
    a, b = APPLICATIONS
    turns = [[turn(name) for name in (a, b, b, a)] for _ in range(rounds)]
    delete_posted()
    return {
        "ratio": median((first + last) / (second + third) for first, second, third, last in turns),
        a: median((first + last) / 2 for first, _, _, last in turns),
        b: median((second + third) / 2 for _, second, third, _ in turns),
    }


def describe(result: dict[str, Any]) -> str:
    return table(
        ("request", "application, µs", "floor, µs", "ratio"),
        [
            (name, *(values[key] for key in (*APPLICATIONS, "ratio")))
            for name, values in result.items()
        ],
    )


def bounds(result: dict[str, Any]) -> list[Bound]:
    return [
        Bound(f"CPU of {name} over the floor's", result[name]["ratio"], most, f"{aim:g}")
        for name, (aim, most) in BOUNDS.items()
    ]
