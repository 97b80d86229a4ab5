"""Imports as an operator starts them, and what they leave in the database."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from books_api.books.models import FIELDS
from books_api.database import autocommit
from tests.conftest import Account


def fields_of(exported: bytes, format_: str) -> list[list[str]]:
    """Return what clients decide of exported books: an import gives them other ids."""
    if format_ == "csv":
        return [row[1:] for row in csv.reader(io.StringIO(exported.decode(), newline=""))]
    return [
        [json.dumps(json.loads(line)[name]) for name in FIELDS] for line in exported.splitlines()
    ]


@pytest.fixture
def run_import(app: Flask, alice: Account, tmp_path: Path) -> Callable[..., Result]:
    """Run `flask books import` on a file of the content, for Alice."""

    def run(content: bytes | str, *options: str, name: str = "books.csv", owner: str = alice.email):
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        arguments = ["books", "import", str(file), "--owner", owner, *options]
        return app.test_cli_runner().invoke(args=arguments)

    return run


@pytest.fixture
def run_export(app: Flask) -> Callable[..., bytes]:
    """Run `flask books export` and return what it writes."""

    def run(*options: str) -> bytes:
        result = app.test_cli_runner().invoke(args=["books", "export", *options])
        assert result.exit_code == 0, result.output
        return result.stdout_bytes

    return run


@pytest.fixture
def stored(app: Flask) -> Callable[..., list[Any]]:
    """Return a column of all books, in the order of their titles, or several as tuples."""

    def read(*columns: str) -> list[Any]:
        statement = text(f'SELECT {", ".join(columns)} FROM books ORDER BY title COLLATE "C"')
        with app.app_context(), autocommit() as connection:
            rows = connection.execute(statement).all()
        return [row[0] if len(columns) == 1 else tuple(row) for row in rows]

    return read
