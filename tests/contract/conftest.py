"""A live server for what speaks HTTP: gunicorn with two workers, on empty tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask

from books_api.config import Settings
from tests.conftest import NEVER
from tests.processes import Gunicorn, running_gunicorn

LIMITS = (
    *("LOGIN_LIMIT", "LOGIN_ACCOUNT_LIMIT", "SIGNUP_LIMIT", "REFRESH_LIMIT"),
    *("LOGIN_ACCOUNT_TOTAL_LIMIT", "PASSWORD_RESET_LIMIT", "SESSION_LIMIT"),
)
DAY = str(24 * 60)


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    return dict(orjson.loads(app.extensions["openapi"]))


@pytest.fixture(scope="module")
def gunicorn(migrated_app: Flask, settings: Settings, folder: Path) -> Iterator[Gunicorn]:
    config = str(Path(__file__).with_name("gunicorn_config.py"))
    environ = {"ACCESS_TOKEN_EXPIRE_MINUTES": DAY, **dict.fromkeys(LIMITS, NEVER)}
    with running_gunicorn(folder, settings, "-c", config, **environ) as gunicorn:
        yield gunicorn


@pytest.fixture
def server(app: Flask, gunicorn: Gunicorn) -> Iterator[Gunicorn]:
    yield gunicorn
    assert gunicorn.errors() == []
