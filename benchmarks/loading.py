"""Catalogues of any size, loaded in bulk: with what triggers and indexes would have made of it."""

import csv
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from uuid import UUID

import psycopg2

from benchmarks import generated
from benchmarks.servers import Deployment, execute
from books_api.model_base import new_id

USERS = 100
SHELF = 100  # books of one owner, all among the first thousand
NEAR = 3_000  # words that are near to one, and to each other
NEAR_WORD = "qwertz"
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = ("id", "user_uid", "created_at", "updated_at", *generated.FIELDS)
CHUNK = 1_000  # books
# In what order it takes, the longest first: the tables by what triggers do, book by book.
WORDS = """
    INSERT INTO owner_words (user_uid, word)
    SELECT user_uid, word FROM books, unnest(tsvector_to_array(search)) AS word
    WHERE length(word) <= 40 GROUP BY user_uid, word ORDER BY count(*) DESC, word;
    INSERT INTO book_words (word)
    SELECT word FROM owner_words GROUP BY word ORDER BY count(*) DESC, word
"""
CHANGES = """
    INSERT INTO book_changes (changed_in, book_id, user_uid, is_deletion)
    SELECT pg_current_xact_id()::text::bigint, id, user_uid, false FROM books
"""
TABLES = ("books", "book_words", "owner_words", "book_changes")
INDEXES = """
    SELECT tablename, indexname, indexdef FROM pg_indexes JOIN pg_class ON relname = indexname
    WHERE tablename = ANY(%s) AND indexname NOT LIKE 'pk%%'
    ORDER BY relam = (SELECT oid FROM pg_am WHERE amname = 'gin') DESC
"""


class Lines(io.RawIOBase):
    """Rows as CSV, made while Postgres copies those before them."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows

    def read(self, size: int = -1) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        for _, row in zip(range(CHUNK), self._rows, strict=False):
            writer.writerow(row)
        return text.getvalue().encode()


def library(place: Deployment) -> Iterator[tuple[Any, ...]]:
    """Add users, and return books of theirs, oldest first."""
    owners = [add_user(f"user{number}") for number in range(USERS)]
    real = generated.real_books(place.user_id)
    return _dated(generated.books(real), place.user_id, owners)


def _dated(
    books: Iterator[tuple[Any, ...]], shelf: UUID, owners: list[UUID]
) -> Iterator[tuple[Any, ...]]:
    for number, (owner, book) in enumerate(zip(cycle(owners), books, strict=False)):
        created_at = BEGIN + timedelta(seconds=number)
        updated_at = created_at + timedelta(seconds=number * 7919 % 100_003)
        on_shelf = number < 10 * SHELF and number % 10 == 0
        yield (new_id(), shelf if on_shelf else owner, created_at, updated_at, *book)


def load(place: Deployment, rows: Iterator[tuple[Any, ...]]) -> None:
    """Add the rows."""
    url = place.environ["DATABASE_URL"]
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SET session_replication_role = replica")  # no trigger
        cursor.execute(INDEXES, [list(TABLES)])
        indexes = cursor.fetchall()
        for _, name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute("TRUNCATE book_words, owner_words, book_changes")
        cursor.copy_expert(f"COPY books ({', '.join(COLUMNS)}) FROM STDIN CSV", Lines(rows))
    of_books = [definition for table, _, definition in indexes if table == "books"]
    others = [definition for table, _, definition in indexes if table != "books"]
    for statements in (
        [WORDS, *of_books, CHANGES],
        others,
        [f"VACUUM ANALYZE {t}" for t in TABLES],
    ):
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(lambda statement: run(url, statement), statements))


def run(url: str, statement: str) -> None:
    """Run what takes long on a connection of its own."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SET maintenance_work_mem = '512MB'")
        cursor.execute(statement)


def flood(place: Deployment) -> None:
    """Add books of one more user, older than the others, with words that are near to NEAR_WORD."""
    letters = [chr(code) for code in range(0x3A0, 0x9000) if chr(code).isalpha()][:NEAR]
    words = [f"{NEAR_WORD}{letter}" for letter in letters]
    titles = [" ".join(words[n : n + 60]) for n in range(0, NEAR, 60)]
    owner = add_user("flood")
    execute(
        "INSERT INTO books (id, title, author, user_uid, created_at)"
        " SELECT id, title, 'Somebody', :owner, :moment"
        " FROM unnest(CAST(:ids AS uuid[]), CAST(:titles AS text[])) AS t (id, title)",
        owner=owner,
        moment=BEGIN - timedelta(days=1),
        ids=[new_id() for _ in titles],
        titles=titles,
    )
    execute("VACUUM ANALYZE book_words")


def add_user(name: str) -> UUID:
    execute(
        "INSERT INTO users (id, username, email, password_hash) VALUES (:id, :name, :name, '')",
        id=(added := new_id()),
        name=name,
    )
    return added
