"""What a primary saves when a standby answers lists and searches: `python -m benchmarks.standby`.

Two applications, one of them with DATABASE_READ_URL, take turns on the same servers. Of ten
requests four are lists of the newest, one is a list by title, one of the newest with a count, three
are searches and one adds a book, in the names of many users: who has just written reads from the
primary. The CPU time is that of all processes of a Postgres, from /proc/PID/schedstat.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from urllib.parse import urlencode

from flask import Flask

from benchmarks.report import table
from benchmarks.search import queries
from benchmarks.servers import BOOK, Deployment, catalogue, deployment, execute, import_file, tree
from benchmarks.turns import sender
from books_api import PREFIX, create_app
from books_api.auth import sessions
from books_api.auth.models import User
from books_api.config import database_url
from books_api.extensions import db
from development.embedded import Postgres
from development.standby import Standby

USERS = (2_000, 40)
PACE = 100  # requests a second
COUNT, ROUNDS = 300, 6  # requests of a turn; a round is A B B A
BOOKS = f"{PREFIX}/books/"


def main() -> None:
    random = Random(1)
    asked = [f"{BOOKS}?{urlencode({'q': query.q})}" for query in queries()]
    rows = []
    with deployment() as place, tempfile.TemporaryDirectory(prefix="books-") as folder:
        import_file(catalogue(), place.user_id)
        tokens = [token(number) for number in range(max(USERS))]
        execute("VACUUM ANALYZE")
        standby = Standby(Path(folder), Postgres(place.folder))
        standby.start()
        try:
            apps = {name: app(place, url) for name, url in (("no", None), ("yes", standby.url))}
            for users in USERS:
                spent = defaultdict(list)
                for name in ("no", "yes") + ("no", "yes", "yes", "no") * ROUNDS:
                    requests = [
                        request(apps[name], random, asked, random.choice(tokens[:users]))
                        for _ in range(COUNT)
                    ]
                    spent[name].append(turn(requests, place.folder, Path(folder)))
                rows += [(users, name, *medians(spent[name][1:])) for name in apps]
        finally:
            standby.stop("immediate")
    columns = ("users", "with a standby", "primary, ms", "requests a CPU second", "standby, ms")
    print(table(columns, rows))


def token(number: int) -> str:
    """Return an access token of a new user."""
    user = User(username=f"u{number}", email=f"u{number}@example.com", password_hash="")
    db.session.add(user)
    db.session.flush()
    pair = sessions.open_session(user, user_agent="benchmarks")
    db.session.commit()
    return pair.access_token


def app(place: Deployment, url: str | None) -> Flask:
    settings = place.app.config["SETTINGS"]
    return create_app(replace(settings, database_read_url=url and database_url(url, "standby")))


def request(app: Flask, random: Random, asked: list[str], token: str) -> Callable[[], None]:
    kind = random.randrange(10)
    if kind == 0:
        return sender(app, "POST", BOOKS, BOOK, token)
    paths = [BOOKS] * 4 + [f"{BOOKS}?sort=title&language=en", f"{BOOKS}?count=true"]
    path = paths[kind - 1] if kind <= 6 else random.choice(asked)
    return sender(app, "GET", path, None, token)


def turn(requests: list[Callable[[], None]], *folders: Path) -> list[float]:
    """Send the requests and return the milliseconds that each Postgres has run for one."""
    before = [run_time(folder) for folder in folders]
    begun = time.monotonic()
    for number, send in enumerate(requests):
        time.sleep(max(0, begun + number / PACE - time.monotonic()))
        send()
    after = [run_time(folder) for folder in folders]
    return [
        sum(ran - earlier.get(pid, 0) for pid, ran in later.items()) / len(requests) / 1e6
        for earlier, later in zip(before, after, strict=True)
    ]


def run_time(folder: Path) -> dict[int, int]:
    """Return the nanoseconds that each process of the Postgres in the folder has run."""
    postmaster = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    found = {}
    for pid in tree(postmaster):
        with suppress(OSError):  # it has just ended
            found[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return found


def medians(turns: list[list[float]]) -> tuple[float, float, float]:
    primary, standby = (median(values) for values in zip(*turns, strict=True))
    return primary, 1000 / primary, standby


if __name__ == "__main__":
    main()
