"""A durable Postgres and Redis that may be killed, and gunicorn behind nginx on them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from books_api import create_app
from books_api.auth import sessions
from books_api.auth.models import User
from books_api.config import Settings, database_url
from books_api.database import autocommit
from books_api.extensions import db
from development.embedded import Postgres, Redis
from tests.conftest import KEY
from tests.deploy.conftest import Nginx, start_gunicorn
from tests.deploy.faults.load import Load
from tests.processes import Gunicorn

SESSIONS = 400


@pytest.fixture(scope="module")
def postgres(folder: Path) -> Iterator[Postgres]:
    server = Postgres(folder / "faults")
    server.start()
    yield server
    server.stop("immediate")


@pytest.fixture(scope="module")
def redis(folder: Path) -> Iterator[Redis]:
    server = Redis(folder / "faults")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def settings(postgres: Postgres, redis: Redis) -> Settings:
    return Settings(
        database_url=database_url(postgres.url),
        redis_url=redis.url,
        jwt_secret_key=KEY,
        access_token_expires=timedelta(hours=2),  # longer than a soak
    )


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[Flask]:
    """The application on those servers, to look into Postgres."""
    app = create_app(settings)
    with app.app_context():
        upgrade()
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def tokens(app: Flask) -> list[str]:
    """Access tokens of many sessions of one user; the tables are empty otherwise."""
    return open_sessions(app, SESSIONS)


def open_sessions(app: Flask, number: int) -> list[str]:
    """Delete all users, add one with so many sessions, and return their access tokens."""
    with app.app_context():
        db.session.execute(text("DELETE FROM users"))
        user = User(username="ada", email="ada@example.com", password_hash="-")
        db.session.add(user)
        db.session.flush()
        pairs = [sessions.open_session(user, user_agent="tests") for _ in range(number)]
        db.session.commit()
        return [pair.access_token for pair in pairs]


def audit(app: Flask, load: Load) -> tuple[int, int]:
    """Count the acknowledged books that Postgres has not as they were, and those it has twice."""
    with app.app_context(), autocommit() as connection:
        rows = connection.execute(text("SELECT id::text, title FROM books")).all()
    titles = dict(rows)
    lost = sum(titles.get(identifier) != title for identifier, title in load.ledger.values())
    keys = Counter(title.partition(" ")[0] for title in titles.values())
    return lost, sum(number > 1 for number in keys.values())


@pytest.fixture
def gunicorn(folder: Path, settings: Settings, app: Flask) -> Iterator[Gunicorn]:
    with start_gunicorn(folder, settings) as gunicorn:
        yield gunicorn
        print(*gunicorn.errors(), sep="\n")  # noqa: T201  # pytest shows it when the test has failed


@pytest.fixture
def nginx(
    start_nginx: Callable[..., AbstractContextManager[Nginx]], gunicorn: Gunicorn
) -> Iterator[Nginx]:
    with start_nginx(gunicorn.port) as nginx:
        yield nginx
