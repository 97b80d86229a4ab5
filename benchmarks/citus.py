"""The same requests on a plain Postgres and on Citus, by hand and as root.

    deploy/citus/cluster.sh start FOLDER
    git apply deploy/citus/application.patch
    python -m benchmarks.citus prepare    # the real catalogue, for five owners, in three databases
    python -m benchmarks.citus

The databases take turns. A cell has the median of the milliseconds that a request takes and, behind
the slash, of those that the processors work for it in all the servers of the place and in the
application; in brackets the ratios to those of the plain Postgres. Or it has what was refused.
"""

import io
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any
from uuid import UUID

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from benchmarks.servers import BOOK, KEY, ROOT, catalogue, cpu_seconds, execute, import_file, tree
from benchmarks.turns import sender
from books_api import PREFIX, create_app
from books_api.auth import sessions
from books_api.auth.models import User
from books_api.auth.users import create_user
from books_api.catalogues.importer import import_records
from books_api.catalogues.readers import open_catalogue
from books_api.config import Settings, database_url
from books_api.database import autocommit
from books_api.extensions import db
from development.embedded import Redis

CITUS = ROOT / "deploy" / "citus"
CLUSTER = (55432, 55433, 55434)
PLACES = {"plain": ((55431,), ""), "by_owner": (CLUSTER, "user_uid"), "by_id": (CLUSTER, "id")}
SHARDS = 8
OWNERS, ROUNDS, CALLS, IMPORTS, IMPORTED = 5, 10, 20, 3, 10_000


@dataclass
class Place:
    """An application on a database, and the servers behind it."""

    name: str
    redis_url: str
    times: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    refused: str = ""

    def __post_init__(self) -> None:
        self.ports, self.key = PLACES[self.name]
        self.url = f"postgresql://postgres@127.0.0.1:{self.ports[0]}/{self.name}"
        settings = Settings(
            database_url=database_url(self.url), redis_url=self.redis_url, jwt_secret_key=KEY
        )
        self.app: Flask = create_app(settings)

    def prepare(self) -> None:
        """Migrate, import and distribute."""
        subprocess.run([CITUS / "cluster.sh", "database", self.name], check=True)
        files = [CITUS / "application.sql"] + ([CITUS / "distribute.sql"] if self.key else [])
        variables = ["ON_ERROR_STOP=1", f"key={self.key}", f"shards={SHARDS}"]
        with self.app.app_context():
            upgrade(directory=str(ROOT / "migrations"))
            for number in range(OWNERS):
                name = f"owner{number}"
                owner = create_user(username=name, email=f"{name}@example.com", password=KEY)
                import_file(catalogue(), owner.id)
            command = ["psql", "-Xq1", self.url, "-o", "/dev/null"]
            command += [word for variable in variables for word in ("-v", variable)]
            command += [word for file in files for word in ("-f", str(file))]
            subprocess.run(command, check=True)
            execute("VACUUM ANALYZE")

    def open(self) -> None:
        """Log an owner in."""
        with self.app.app_context():
            owner = db.session.query(User).filter_by(username="owner0").one()
            self.owner: UUID = owner.id
            self.token = sessions.open_session(owner, user_agent="benchmarks").access_token
            db.session.commit()
            statement = text("SELECT id FROM books WHERE user_uid = :owner ORDER BY id LIMIT 1")
            with autocommit() as connection:
                self.book = connection.execute(statement, {"owner": self.owner}).scalar_one()
            db.session.remove()

    def processor_seconds(self) -> float:
        """Return what the application and the servers have used, their ended processes, too."""
        used = time.process_time()
        for port in self.ports:
            statement = "SELECT setting FROM pg_settings WHERE name = 'data_directory'"
            folder = _folders.get(port) or _ask(port, statement)
            _folders[port] = folder
            postmaster = int((Path(folder) / "postmaster.pid").read_text().split()[0])
            for pid in tree(postmaster):
                with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                    used += sum(cpu_seconds(pid))
            ended = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[13:15]
            used += sum(map(int, ended)) / 100
        return used

    def call(self, send: Callable[[], None], calls: int) -> None:
        """Send so many requests, unless one was refused."""
        used = self.processor_seconds()
        for _ in range(calls):
            if self.refused:
                return
            begun = time.perf_counter()
            try:
                send()
            except Exception as error:  # whatever the engine refuses is a result
                self.refused = f"{type(error).__name__}: {error}".splitlines()[0]
            self.times.append((time.perf_counter() - begun) * 1000)
        self.work.append((self.processor_seconds() - used) * 1000 / calls)

    def cell(self, plain: "Place") -> str:
        """Return what was measured."""
        if self.refused:
            return self.refused
        took, worked = median(self.times), mean(self.work)
        ratios = f"{took / median(plain.times):.1f}/{worked / mean(plain.work):.1f}"
        return f"{took:.1f}/{worked:.1f} ({ratios})"


_folders: dict[int, str] = {}


def _ask(port: int, statement: str) -> str:
    command = ["psql", "-XAt", f"postgresql://postgres@127.0.0.1:{port}/postgres", "-c", statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def requests(place: Place) -> dict[str, Callable[[], None]]:
    """Return what is measured one by one."""
    paths = {
        "one book": f"{place.book}",
        "newest": "",
        "by title": "?sort=title",
        "of an owner": f"user/{place.owner}",
        "count": "?limit=1&count=true",
        "count, exact": "?limit=1&count=exact",
        "search under an owner": f"?q=left+hand+darknes&user_uid={place.owner}",
        "search": "?q=left+hand+darkness",
        "search, a typo": "?q=left+hand+darknes",
    }
    asked: dict[str, tuple[str, str, Any]]
    asked = {name: ("GET", f"{PREFIX}/books/{path}", None) for name, path in paths.items()}
    asked["PATCH"] = ("PATCH", f"{PREFIX}/books/{place.book}", {"page_count": 1})
    asked["POST"] = ("POST", f"{PREFIX}/books/", BOOK)
    return {name: sender(place.app, *request, place.token) for name, request in asked.items()}


def importer(place: Place) -> Callable[[], None]:
    """Return a function that adds the first books of the real catalogue again."""
    file = b"".join(catalogue().read().splitlines(keepends=True)[: IMPORTED + 1])

    def send() -> None:
        with place.app.app_context():
            import_records(
                open_catalogue(io.BytesIO(file)).records,
                place.owner,
                on_outcome=lambda record, outcome: None,
                on_batch=lambda report: None,
                on_duplicate="add",
            )

    return send


def measure(
    name: str, places: Sequence[Place], sends: Sequence[Any], rounds: int, calls: int
) -> None:
    """Print a row."""
    for place in places:
        place.times, place.work, place.refused = [], [], ""
    for _ in range(rounds):
        for place, send in zip(places, sends, strict=True):
            place.call(send, calls)
    cells = [place.cell(places[0]) for place in places]
    print("|", " | ".join([name, *cells]), "|", flush=True)


def main() -> None:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="books-") as folder:
        redis = Redis(Path(folder), durable=False)
        redis.start()
        try:
            places = [
                Place(name, redis.url.replace("db=0", f"db={number}"))
                for number, name in enumerate(PLACES)
            ]
            for place in places:
                if "prepare" in sys.argv:
                    place.prepare()
                else:
                    place.open()
            if "prepare" not in sys.argv:
                asked = [requests(place) for place in places]
                for name in asked[0]:
                    measure(name, places, [each[name] for each in asked], ROUNDS, CALLS)
                imports = [importer(place) for place in places]
                measure("import of 10,000", places, imports, IMPORTS, 1)
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
