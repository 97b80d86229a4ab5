"""What is measured: the application on durable embedded servers in a temporary folder."""

import gzip
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from books_api import create_app
from books_api.auth import service, sessions
from books_api.books.formats import open_catalogue
from books_api.books.importer import import_records
from books_api.config import Settings, database_url
from books_api.embedded import Postgres, Redis
from books_api.extensions import autocommit, db

ROOT = Path(__file__).parent.parent
CATALOGUE = ROOT / "tests" / "data" / "goodreads_books.csv.gz"
KEY = "0123456789abcdef" * 4
EMAIL, PASSWORD = "ada@example.com", "correct horse battery staple"
NEVER = "1000000 per second"


@dataclass(frozen=True)
class Deployment:
    """An application in this process, and the environment in which others run it."""

    folder: Path
    app: Flask
    environ: dict[str, str]
    user_id: str
    token: str


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
        environ = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "JWT_SECRET_KEY": KEY,
            "LOGIN_LIMIT": NEVER,
            "LOGIN_ACCOUNT_LIMIT": NEVER,
            "PYTHON_DOTENV_DISABLED": "1",
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
        }
        with app.app_context():
            upgrade()
            user = service.create_user(username="ada", email=EMAIL, password=PASSWORD)
            pair = sessions.open_session(user, user_agent="benchmarks")
            db.session.commit()
            yield Deployment(folder, app, environ, str(user.id), pair.access_token)
            db.session.remove()
            db.engine.dispose()
    finally:
        postgres.stop("immediate")
        redis.stop()
        shutil.rmtree(folder)


@contextmanager
def on_one_core() -> Iterator[None]:
    """Bind this process, and what it starts, to one core: wake-ups between cores cost most."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def catalogue() -> IO[bytes]:
    """Return the real catalogue of 11,127 records, as CSV."""
    return io.BytesIO(gzip.decompress(CATALOGUE.read_bytes()))


def import_catalogue(file: IO[bytes], owner: str) -> None:
    """Import the file as the command line does."""
    with db.engine.connect() as connection:
        import_records(
            open_catalogue(file).records,
            owner,  # type: ignore[arg-type]
            connection=connection,
            on_outcome=lambda record, outcome, reason: None,
            after_batch=lambda report: connection.commit(),
        )
    execute("VACUUM ANALYZE")


def execute(statement: str, **parameters: object) -> None:
    """Run a statement that needs no transaction, however long it takes."""
    with autocommit() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(statement), parameters)
        connection.execute(text("RESET statement_timeout"))
