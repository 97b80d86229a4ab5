"""The real catalogue, in a database of its own: 11,000 books."""

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import Flask
from flask_migrate import upgrade
from marshmallow import ValidationError
from sqlalchemy import create_engine, text

from books_api import create_app
from books_api.auth.models import User
from books_api.books.lists import list_books
from books_api.books.schemas import parse_isbn
from books_api.config import Settings
from books_api.database import allow_long, autocommit
from books_api.extensions import db
from books_api.model_base import new_id
from tests.processes import ROOT

FILE = ROOT / "tests" / "data" / "goodreads_books.csv.gz"
COLUMNS = "id, title, author, publisher, published_date, page_count, language, isbn, user_uid"
OWNERS = 20


def _parsed(parse: Any, value: str) -> Any:
    try:
        return parse(value)
    except (ValueError, ValidationError):
        return None


def rows() -> Iterator[tuple[Any, ...]]:
    """Yield title, author, publisher, published_date, page_count, language and isbn."""
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if None in row:  # an unquoted comma
                continue
            date = _parsed(lambda v: datetime.strptime(v, "%m/%d/%Y"), row["publication_date"])
            yield (
                row["title"].strip(),
                row["authors"],
                row["publisher"],
                date and f"{date:%Y-%m-%d}",
                int(row["  num_pages"]) or None,
                row["language_code"],
                _parsed(parse_isbn, row["isbn13"]),
            )


@contextmanager
def catalogue(settings: Settings, name: str) -> Iterator[Flask]:
    """An application on the database `name`, which holds the catalogue."""
    engine = create_engine(settings.database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            text(
                f"CREATE DATABASE {name} TEMPLATE template0"
                " ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
            )
        )
    app = create_app(
        replace(settings, database_url=settings.database_url.replace("/books?", f"/{name}?"))
    )
    with app.app_context():
        upgrade()
        _load()
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()
            with engine.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            engine.dispose()


def _load() -> None:
    owners = [
        User(username=f"owner{n}", email=f"owner{n}@example.com", password_hash="none")
        for n in range(OWNERS)
    ]
    db.session.add_all(owners)
    db.session.flush()
    file = io.StringIO()
    writer = csv.writer(file)
    for number, row in enumerate(rows()):
        writer.writerow((new_id(), *row, owners[number % OWNERS].id))
    file.seek(0)
    allow_long(db.session.connection())
    cursor = db.session.connection().connection.cursor()
    cursor.copy_expert(f"COPY books ({COLUMNS}) FROM STDIN WITH (FORMAT csv)", file)
    db.session.commit()
    with autocommit() as connection:
        connection.execute(text("VACUUM ANALYZE books"))


def walk_through(limit: int = 100, **query: Any) -> list[dict[str, Any]]:
    """The rows of every page."""
    page = list_books(limit=limit, **query)
    rows = list(page.rows)
    while page.cursor:
        page = list_books(limit=limit, cursor=page.cursor, **query)
        rows += page.rows
    return rows
