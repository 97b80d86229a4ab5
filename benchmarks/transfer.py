"""Import and export at their limits: `python -m benchmarks.transfer [RECORDS]`.

Embedded servers in a temporary folder. The time of a raw COPY of the same rows into the same
indexed table, in batches of the same size, is the yardstick; both run in turns, and the best of
three counts.
"""

import gzip
import io
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from uuid import UUID, uuid4

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from books_api import create_app
from books_api.books.exporter import export_books
from books_api.books.formats import open_catalogue
from books_api.books.importer import BATCH, import_records
from books_api.config import Settings, database_url
from books_api.embedded import Postgres, Redis
from books_api.extensions import autocommit, db

CATALOGUE = Path(__file__).parent.parent / "tests" / "data" / "goodreads_books.csv.gz"
COLUMNS = "id, user_uid, title, author, publisher, published_date, page_count, language, isbn"
ROUNDS = 3


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    folder = Path(tempfile.mkdtemp(prefix="books-"))
    postgres, redis = Postgres(folder), Redis(folder)
    try:
        postgres.start()
        redis.start()
        app = create_app(
            Settings(
                database_url=database_url(postgres.url),
                redis_url=redis.url,
                jwt_secret_key="k" * 64,
            )
        )
        with app.app_context():
            upgrade()
            measure(app, records)
            db.engine.dispose()
    finally:
        postgres.stop("immediate")
        redis.stop()
        shutil.rmtree(folder)


def measure(app: Flask, records: int) -> None:
    owner = uuid4()
    with autocommit() as connection:
        connection.execute(
            text(
                "INSERT INTO users (id, username, email, password_hash)"
                " VALUES (:id, 'a', 'a@example.com', '')"
            ),
            {"id": owner},
        )
    catalogue = gzip.decompress(CATALOGUE.read_bytes())
    run_import(io.BytesIO(catalogue), owner)
    rows = exported_rows()
    pairs = [
        (timed(lambda: run_import(io.BytesIO(catalogue), owner)), timed(lambda: raw_copy(rows)))
        for _ in range(ROUNDS)
    ]
    imported, copied = (min(column) for column in zip(*pairs, strict=True))
    count = len(rows)
    print(f"import     {count / imported:>10,.0f} validated rows/s")
    print(f"raw COPY   {count / copied:>10,.0f} rows/s")
    print(f"ratio      {imported / copied:>10.2f}")

    begun = peak()
    clear()
    with tempfile.TemporaryFile() as file:
        file.write(b"title,author,published_date,page_count,isbn\n")
        for number in range(records):
            file.write(b"Volume %d,Somebody No. %d,1973,304,\n" % (number, number % 999))
        seconds = run_import(file, owner)
    print(f"import     {records / seconds:>10,.0f} rows/s of {records:,} without isbn")
    print(f"memory     {peak():>10,.0f} MB at the peak, {peak() - begun:,.0f} MB for {records:,}")

    for format in ("csv", "jsonl"):
        start = time.perf_counter()
        for _ in export_books(format, {"user_uid": owner}):  # type: ignore[arg-type]
            pass
        print(f"export     {records / (time.perf_counter() - start):>10,.0f} rows/s, {format}")


def timed(work: Callable[[], float]) -> float:
    clear()
    return work()


def clear() -> None:
    with autocommit() as connection:
        connection.execute(text("TRUNCATE books"))


def run_import(file: IO[bytes], owner: UUID) -> float:
    """Import and return the seconds that it took."""
    start = time.perf_counter()
    with db.engine.connect() as connection:
        import_records(
            open_catalogue(file).records,
            owner,
            connection=connection,
            on_outcome=lambda record, outcome, reason: None,
            after_batch=lambda report: connection.commit(),
        )
    return time.perf_counter() - start


def exported_rows() -> list[bytes]:
    """Return the books as lines of COPY's text format."""
    buffer = io.BytesIO()
    with db.engine.connect() as connection:
        statement = f"COPY (SELECT {COLUMNS} FROM books ORDER BY created_at, id) TO STDOUT"
        connection.connection.cursor().copy_expert(statement, buffer)
    return buffer.getvalue().splitlines(keepends=True)


def raw_copy(rows: list[bytes]) -> float:
    """Copy the lines into the table and return the seconds that it took."""
    start = time.perf_counter()
    with db.engine.connect() as connection:
        for first in range(0, len(rows), BATCH):
            batch = io.BytesIO(b"".join(rows[first : first + BATCH]))
            statement = f"COPY books ({COLUMNS}) FROM STDIN"
            connection.connection.cursor().copy_expert(statement, batch)
            connection.commit()
    return time.perf_counter() - start


def peak() -> float:
    """Return the process's largest resident memory, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
