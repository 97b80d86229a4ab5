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

from sqlalchemy import text

from benchmarks.servers import ROOT, Deployment, catalogue, deployment, execute, import_catalogue
from benchmarks.servers import on_one_core as one_core
from books_api import PREFIX
from books_api.extensions import autocommit

APPLICATIONS = {"application": "wsgi:app", "floor": "benchmarks.floor:app"}
BOOK = {
    "title": "The Left Hand of Darkness",
    "author": "Ursula K. Le Guin",
    "publisher": "Ace Books",
    "published_date": "1969-03",
    "page_count": 286,
    "language": "eng",
    "isbn": "9780441478125",
}


def measure(quick: bool) -> dict[str, Any]:
    """Return, for each request, the median ratio and microseconds of both applications."""
    rounds, requests = (3, 40) if quick else (15, 250)
    with one_core(), deployment() as place:
        import_catalogue(catalogue(), place.user_id)
        with ExitStack() as stack:
            processes = {
                name: stack.enter_context(application(target, place))
                for name, target in APPLICATIONS.items()
            }
            return {
                name: compare(processes, [*request, place.token, body], rounds, requests)
                for name, *request, body in cases()
            }


def cases() -> list[tuple[str, str, str, Any]]:
    with autocommit() as connection:
        book_id = connection.execute(text("SELECT max(id::text) FROM books")).scalar()
    return [
        ("GET /books/{id}", "GET", f"{PREFIX}/books/{book_id}", None),
        ("GET /books/", "GET", f"{PREFIX}/books/", None),
        ("POST /books/", "POST", f"{PREFIX}/books/", BOOK),
    ]


def application(target: str, place: Deployment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.turns", target],
        cwd=ROOT,
        env=place.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def compare(
    processes: dict[str, subprocess.Popen[str]], request: Any, rounds: int, requests: int
) -> dict[str, float]:
    def turn(name: str) -> float:
        process = processes[name]
        assert process.stdin and process.stdout
        print(json.dumps([request, requests]), file=process.stdin, flush=True)
        return float(process.stdout.readline())

    first, second = processes
    for name in processes:
        turn(name)  # warms up
    pairs = []
    for _ in range(rounds):
        a, b, c, d = (turn(name) for name in (first, second, second, first))
        pairs.append((a + d, b + c))
    execute("DELETE FROM books WHERE title = :title", title=BOOK["title"])
    return {
        "ratio": median(a / b for a, b in pairs),
        first: median(a for a, _ in pairs) / 2,
        second: median(b for _, b in pairs) / 2,
    }
