"""A live server for what speaks HTTP: gunicorn with two workers, on empty tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask

from books_api.config import Settings
from tests.conftest import NEVER
from tests.processes import ROOT, clean_environ, free_port, running, wait_until_serving

LIMITS = (
    *("LOGIN_LIMIT", "LOGIN_ACCOUNT_LIMIT", "SIGNUP_LIMIT", "REFRESH_LIMIT"),
    "PASSWORD_RESET_LIMIT",
)
DAY = str(24 * 60)


@dataclass(frozen=True)
class Server:
    """A running server, and the environment with its settings."""

    url: str
    environ: dict[str, str]


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    return dict(orjson.loads(app.extensions["openapi"]))


@pytest.fixture
def server(app: Flask, settings: Settings, tmp_path: Path) -> Iterator[Server]:
    port = free_port()
    log = tmp_path / "gunicorn.log"
    environ = clean_environ(
        tmp_path,
        BIND=f"127.0.0.1:{port}",
        DATABASE_URL=settings.database_url,
        REDIS_URL=settings.redis_url,
        JWT_SECRET_KEY=settings.jwt_secret_key,
        ACCESS_TOKEN_EXPIRE_MINUTES=DAY,
        **dict.fromkeys(LIMITS, NEVER),
    )
    config = str(Path(__file__).with_name("gunicorn_config.py"))
    arguments = ["-m", "gunicorn", "-c", config, "--workers", "2", "wsgi:app"]
    with running(arguments, log, cwd=ROOT, env=environ) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_serving(f"{url}/readyz", process, log)
        yield Server(url, environ)
    errors = [line for line in log.read_text().splitlines() if '"level":"error"' in line]
    assert errors == []
