"""Real servers for each test process, an application on them, and makers of accounts and books."""

import io
import itertools
import json
import logging
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from redis.exceptions import RedisError
from sqlalchemy import text
from werkzeug.security import generate_password_hash

from books_api import PREFIX, create_app
from books_api.auth import blocklist, blocklist_refill, passwords, sessions
from books_api.auth.models import User
from books_api.config import Settings, database_url
from books_api.database import autocommit
from books_api.extensions import db, redis
from books_api.observability.logs import FORMATTERS
from books_api.web import rate_limits
from development.embedded import Postgres, Redis
from tests.processes import wait_until
from tests.statements import LOGGED

PASSWORD = "correct horse battery staple"
KEY = "0f8e7d6c5b4a39281706f5e4d3c2b1a00f8e7d6c5b4a39281706f5e4d3c2b1a0"
NEVER = "1000000 per second"
counter = itertools.count()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that is gone afterwards (pytest's own stays, see pyproject.toml)."""
    with tempfile.TemporaryDirectory(prefix="books-") as name:
        yield Path(name)


@dataclass(frozen=True)
class Servers:
    postgres: Postgres
    redis: Redis


@dataclass(frozen=True)
class Account:
    """A user with a session."""

    id: str
    email: str
    username: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.access_token)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short path, as Unix sockets want it."""
    path = Path(tempfile.mkdtemp(prefix="books-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def servers(folder: Path) -> Iterator[Servers]:
    postgres, store = Postgres(folder, durable=False), Redis(folder, durable=False)
    postgres.start()
    try:
        store.start()
        yield Servers(postgres, store)
    finally:
        postgres.stop("immediate")
        store.stop()


@pytest.fixture(scope="session")
def settings(servers: Servers) -> Settings:
    return Settings(
        database_url=database_url(servers.postgres.url),
        redis_url=servers.redis.url,
        jwt_secret_key=KEY,
        login_limit=NEVER,
        login_account_limit=NEVER,
        login_account_total_limit=NEVER,
        signup_limit=NEVER,
        refresh_limit=NEVER,
        session_limit=NEVER,
        password_reset_limit=NEVER,
        log_format="json",
    )


@pytest.fixture(scope="session")
def migrated_app(settings: Settings) -> Flask:
    app = create_app(settings)
    with app.app_context():
        upgrade()
    return app


WIPE = """
    DELETE FROM users; DELETE FROM book_changes; DELETE FROM revocations;
    SELECT name FROM blocklist_copy
"""


@pytest.fixture
def app(migrated_app: Flask, servers: Servers) -> Flask:
    """The application, with empty tables and an empty Redis, in which the copy is whole."""
    if not servers.redis.is_running():
        servers.redis.start()
    with migrated_app.app_context():
        redis.client.flushall()
        name = db.session.execute(text(WIPE)).scalar_one()
        db.session.commit()
        if name.endswith(blocklist.identity()):
            redis.client.set(blocklist.MARKER, name, 900)
            redis.client.set(blocklist.FRESH, "1", 300)
        else:
            db.session.execute(text("UPDATE blocklist_copy SET name = '', held_until = now()"))
            db.session.commit()
            wait_until(_fill, 20)
    return migrated_app


def _fill() -> bool:
    with suppress(RedisError):  # another test's process is at it
        return blocklist_refill.fill()
    return False


@pytest.fixture
def redis_server(app: Flask, servers: Servers) -> Iterator[Redis]:
    """Redis, to be broken: it runs again afterwards, empty and with its settings."""
    with app.app_context():
        data = Path(redis.client.config_get("dir")["dir"])
    try:
        yield servers.redis
    finally:
        servers.redis.kill()
        (data / "dump.rdb").unlink(missing_ok=True)
        servers.redis.start()


@pytest.fixture
def silent_redis(app: Flask, redis_server: Redis) -> Iterator[None]:
    """Redis takes connections and answers nothing."""
    with app.app_context():
        process = redis.client.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    yield
    os.kill(process, signal.SIGCONT)


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[Any]]:
    """Return the security events of one kind that have been logged so far."""
    caplog.set_level("INFO", "books_api.security")

    def events(kind: str) -> list[Any]:
        return [
            record.fields
            for record in caplog.records
            if record.name == "books_api.security" and record.fields["event"] == kind
        ]

    return events


@pytest.fixture
def make_app(app: Flask, settings: Settings) -> Callable[..., Flask]:
    """Make another application on the same servers, with other settings."""

    def make(**changes: Any) -> Flask:
        return create_app(replace(settings, **changes))

    return make


@pytest.fixture(scope="session")
def create_once() -> Callable[[Settings], Flask]:
    return lru_cache(maxsize=8)(create_app)


@pytest.fixture
def share_app(
    app: Flask, settings: Settings, create_once: Callable[[Settings], Flask]
) -> Callable[..., Flask]:
    """As make_app, but one for all tests of the settings, which leave it as it is.

    Its limits count from nothing.
    """

    def share(**changes: Any) -> Flask:
        shared = create_once(replace(settings, **changes))
        rate_limits.init_app(shared)
        return shared

    return share


@pytest.fixture
def make_impatient_app(
    make_app: Callable[..., Flask], settings: Settings
) -> Iterator[Callable[..., Flask]]:
    """Make an application whose connections have the given settings of Postgres."""
    made = []

    def make(**options: Any) -> Flask:
        words = " ".join(f"-c {name}={value}" for name, value in options.items())
        made.append(make_app(database_url=f"{settings.database_url}&options={quote(words)}"))
        return made[-1]

    yield make
    for app in made:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def make_database(
    app: Flask, make_app: Callable[..., Flask], settings: Settings
) -> Iterator[Callable[..., Flask]]:
    """Make an application on an empty database of its own."""
    made: dict[str, Flask] = {}

    def make(lc_ctype: str = "C.UTF-8") -> Flask:
        name = f"books_{next(counter)}"
        with app.app_context(), autocommit() as connection:
            connection.execute(
                text(
                    f"CREATE DATABASE {name} TEMPLATE template0"
                    f" ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE '{lc_ctype}'"
                )
            )
        made[name] = make_app(database_url=settings.database_url.replace("/books?", f"/{name}?"))
        return made[name]

    yield make
    for other in made.values():
        with other.app_context():
            db.engine.dispose()
    with app.app_context(), autocommit() as connection:
        for name in made:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(autouse=True)
def no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, the application logs no token, no password and no hash."""
    yield
    for phase in ("setup", "call"):
        for record in caplog.get_records(phase):
            line = FORMATTERS["json"].format(record)
            assert not re.search(rf"eyJ[\w-]+\.|scrypt:\d|{PASSWORD}|{KEY}", line), line


@pytest.fixture
def log(app: Flask) -> Iterator[io.StringIO]:
    """What has been logged so far, as production writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(FORMATTERS["json"])
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def lines(log: io.StringIO) -> Callable[..., list[dict[str, Any]]]:
    """Return the lines that have been logged so far, of one logger or of all."""

    def lines(logger: str = "") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in log.getvalue().splitlines()]
        return [line for line in found if logger in ("", line["logger"])]

    return lines


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def logged_client(share_app: Callable[..., Flask], settings: Settings) -> Iterator[FlaskClient]:
    """A client of an application whose statements Postgres logs."""
    app = share_app(database_url=f"{settings.database_url}&{LOGGED}")
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


QUICK = "scrypt:1024:8:1"


@pytest.fixture(scope="session")
def password_hash() -> str:
    """A hash that is quick to check."""
    return generate_password_hash(PASSWORD, QUICK)


@pytest.fixture(autouse=True)
def quick_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash a hundred times faster; where the strength is the point, see full_strength."""
    monkeypatch.setattr(passwords, "METHOD", QUICK)
    monkeypatch.setattr(passwords, "NOBODYS_HASH", QUICK + "$salt$")


@pytest.fixture
def full_strength(quick_hashing: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Hash as production does. Returns a hash of PASSWORD."""
    monkeypatch.undo()
    return generate_password_hash(PASSWORD, passwords.METHOD)


@pytest.fixture
def make_user(app: Flask, password_hash: str) -> Callable[..., Account]:
    """Add a user to the database, logged in unless it is inactive; its password is PASSWORD."""

    def make(**values: Any) -> Account:
        number = next(counter)
        values = {
            "username": f"user{number}",
            "email": f"user{number}@example.com",
            "password_hash": password_hash,
            **values,
        }
        with app.app_context():
            user = User(**values)
            db.session.add(user)
            db.session.flush()
            pair = sessions.open_session(user, user_agent="tests")
            db.session.commit()
            return Account(
                str(user.id), user.email, user.username, pair.access_token, pair.refresh_token
            )

    return make


@pytest.fixture
def alice(make_user: Callable[..., Account]) -> Account:
    return make_user(username="alice", email="alice@example.com")


@pytest.fixture
def bob(make_user: Callable[..., Account]) -> Account:
    return make_user(username="bob", email="bob@example.com")


@pytest.fixture
def admin(make_user: Callable[..., Account]) -> Account:
    return make_user(username="admin", email="admin@example.com", role="admin")


@pytest.fixture
def make_book(client: FlaskClient) -> Callable[..., dict[str, Any]]:
    """Add a book over the API and return it as answered."""

    def make(owner: Account, **values: Any) -> dict[str, Any]:
        values = {"title": "The Hobbit", "author": "J. R. R. Tolkien", **values}
        response = client.post(f"{PREFIX}/books/", json=values, headers=owner.headers)
        assert response.status_code == 201, response.text
        return dict(response.json)

    return make
