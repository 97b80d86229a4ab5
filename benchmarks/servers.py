"""What is measured: the application on durable embedded servers in a temporary folder."""

import gzip
import http.client
import io
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from books_api import PREFIX, create_app
from books_api.auth import sessions
from books_api.auth.signup import create_user
from books_api.catalogues.importer import import_records
from books_api.catalogues.readers import open_catalogue
from books_api.config import Settings, database_url
from books_api.database import autocommit, driver
from books_api.extensions import db
from development.embedded import Postgres, Redis

ROOT = Path(__file__).parent.parent
CATALOGUE = ROOT / "tests" / "data" / "goodreads_books.csv.gz"
KEY = "0123456789abcdef" * 4
EMAIL, PASSWORD = "ada@example.com", "correct horse battery staple"
NEVER = "1000000 per second"
TIMEOUT = 60
PAUSE = 0.01  # seconds between two requests of one who only wants to know how long they take


@dataclass(frozen=True)
class Deployment:
    """An application in this process, and the environment in which others run it."""

    folder: Path
    app: Flask
    environ: dict[str, str]
    user_id: UUID
    token: str
    python: str = sys.executable


@contextmanager
def deployment() -> Iterator[Deployment]:
    """Start the servers, migrate, and add a user who is logged in for the day."""
    folder = Path(tempfile.mkdtemp(prefix="books-"))
    postgres, redis = Postgres(folder), Redis(folder)
    try:
        postgres.start()
        redis.start()
        app = create_app(
            Settings(
                database_url=database_url(postgres.url),
                redis_url=redis.url,
                jwt_secret_key=KEY,
                access_token_expires=timedelta(days=1),
            )
        )
        logging.disable(logging.INFO)
        environ = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "JWT_SECRET_KEY": KEY,
            "LOGIN_LIMIT": NEVER,
            "LOGIN_ACCOUNT_LIMIT": NEVER,
            "SESSION_LIMIT": NEVER,
            "LOGINS_PER_USER": "10000",  # or logins at full tilt end the one that measures
            "PYTHON_DOTENV_DISABLED": "1",
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
        }
        with app.app_context():
            upgrade()
            user = create_user(username="ada", email=EMAIL, password=PASSWORD)
            pair = sessions.open_session(user, user_agent="benchmarks")
            db.session.commit()
            yield Deployment(folder, app, environ, user.id, pair.access_token)
            db.session.remove()
            db.engine.dispose()
    finally:
        postgres.stop("immediate")
        redis.stop()
        shutil.rmtree(folder)


@contextmanager
def one_core() -> Iterator[None]:
    """Bind this process, and what it starts, to one core: wake-ups between cores cost most."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@dataclass(frozen=True)
class Served:
    """A gunicorn that answers at a port of this machine."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return what the master and its workers have used."""
        return sum(map(sum, map(cpu_seconds, tree(self.pid))))

    def get(self, path: str, token: str) -> float:
        """Send one request and return the seconds that it took, the connection included."""
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 200, answer.status
        return time.perf_counter() - begun

    def get_for(self, seconds: float, path: str, token: str) -> list[float]:
        """Send requests one after the other, as get() does, for so long."""
        times = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            times.append(self.get(path, token))
            time.sleep(PAUSE)
        return times


@contextmanager
def gunicorn(place: Deployment, *options: str, target: str = "wsgi:app") -> Iterator[Served]:
    """Serve the target with the shipped configuration, and the options on top of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["gunicorn", "-c", "deploy/gunicorn.conf.py", *options, target]
    with (place.folder / "gunicorn.log").open("w") as log:
        process = spawn(place, *command, BIND=f"127.0.0.1:{port}", stdout=log, stderr=log)
    try:
        wait_for(port, process)
        yield Served(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()


def spawn(
    place: Deployment, *command: str, stdout: Any = None, stderr: Any = None, **environ: str
) -> subprocess.Popen[bytes]:
    """Start `python -m command` in the environment of the deployment."""
    return subprocess.Popen(
        [place.python, "-m", *command],
        cwd=ROOT,
        env=place.environ | environ,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something answers at the port."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        assert process.poll() is None, "gunicorn has ended"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        with suppress(ConnectionError):
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            return
        time.sleep(0.005)
    raise TimeoutError("gunicorn does not answer")


def tree(pid: int) -> list[int]:
    """Return the process, and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Return what the process has used in user space and in the kernel."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    ticks = os.sysconf("SC_CLK_TCK")
    return int(user) / ticks, int(system) / ticks


def megabytes(pid: int, name: str) -> float:
    """Return a line of the process's status or smaps_rollup: VmRSS, VmHWM or Pss."""
    file = "smaps_rollup" if name == "Pss" else "status"
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0  # a process that has just ended has none


def catalogue() -> IO[bytes]:
    """Return the real catalogue of 11,127 records, as CSV."""
    return io.BytesIO(gzip.decompress(CATALOGUE.read_bytes()))


def import_file(file: IO[bytes], owner: UUID) -> None:
    """Import the file as the command line does."""
    import_records(
        open_catalogue(file).records,
        owner,
        on_outcome=lambda record, outcome: None,
        on_batch=lambda report: None,
    )


def execute(statement: str, **parameters: object) -> None:
    """Run a statement that needs no transaction, however long it takes."""
    with autocommit() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        driver(connection).seconds = inf
        connection.execute(text(statement), parameters)
        connection.execute(text("RESET statement_timeout"))


def requests() -> list[tuple[str, str, str, Any]]:
    """Return name, method, path and body of the requests that are measured one by one."""
    with autocommit() as connection:
        book_id = connection.execute(text("SELECT max(id::text) FROM books")).scalar()
    return [
        ("GET /books/{id}", "GET", f"{PREFIX}/books/{book_id}", None),
        ("GET /books/", "GET", f"{PREFIX}/books/", None),
        ("POST /books/", "POST", f"{PREFIX}/books/", BOOK),
    ]


def delete_posted() -> None:
    """Delete what the POST of requests() has added."""
    execute("DELETE FROM books WHERE title = :title", title=BOOK["title"])
    execute("VACUUM ANALYZE books")


BOOK = {
    "title": "The Left Hand of Darkness, a copy to be deleted",
    "author": "Ursula K. Le Guin",
    "publisher": "Ace Books",
    "published_date": "1969-03",
    "page_count": 286,
    "language": "eng",
    "isbn": "9780441478125",
}
