"""Import and export: rows a second, beside a raw COPY; memory; and what a GET meanwhile takes.

The rows and the batches of the raw COPY are those of the import, into the same indexed table;
both take turns. The million goes through the command line, while gunicorn answers GETs.
"""

import csv
import io
import subprocess
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from benchmarks import generated
from benchmarks.report import Bound, table
from benchmarks.servers import (
    EMAIL,
    Deployment,
    catalogue,
    deployment,
    execute,
    gunicorn,
    import_file,
    megabytes,
    requests,
    spawn,
)
from books_api.books.counts import count_books
from books_api.catalogues.cli import SOME_REJECTED
from books_api.catalogues.importer import BATCH
from books_api.extensions import db

COLUMNS = f"id, user_uid, {', '.join(generated.FIELDS)}"
SAMPLE = 0.2  # seconds between two looks at the memory

Get = Callable[[float], list[float]]


def measure(quick: bool) -> dict[str, float]:
    """Return rates in rows/s, megabytes, and milliseconds of a GET."""
    rounds, records, idle_seconds = (1, 20_000, 2) if quick else (5, 1_000_000, 15)
    with deployment() as place:
        result = beside_copy(place.user_id, rounds)
        file = place.folder / "catalogue.csv"
        write(file, records, generated.real_books(place.user_id))
        import_file(catalogue(), place.user_id)
        path = requests()[0][2]
        with gunicorn(place) as served:
            get = partial(served.get_for, path=path, token=place.token)
            idle = get(idle_seconds)
            meanwhile = run(place, "import", str(file), "--owner", EMAIL, "--quiet", get=get)
        result["rows"] = records
        result["million"] = records / meanwhile["seconds"]
        result["memory"], result["memory at 10 %"] = meanwhile["peak"], meanwhile["at 10 %"]
        result["get idle"] = median(idle) * 1000
        result["get meanwhile"] = median(meanwhile["times"]) * 1000
        books = count_books({}).books
        for form in ("csv", "jsonl"):
            export = run(place, "export", "--format", form, "-o", str(place.folder / "out"))
            result[f"export {form}"] = books / export["seconds"]
            result[f"export {form} memory"] = export["peak"]
        return result


def beside_copy(owner: UUID, rounds: int) -> dict[str, float]:
    """Return the rates of an import of the real catalogue and of a COPY of what it imports."""
    import_file(catalogue(), owner)
    rows = exported_rows()
    imported, copied = [], []
    for _ in range(rounds):
        execute("TRUNCATE books, book_words, owner_words")
        begun = time.perf_counter()
        import_file(catalogue(), owner)
        imported.append(time.perf_counter() - begun)
        execute("TRUNCATE books, book_words, owner_words")
        begun = time.perf_counter()
        raw_copy(rows)
        copied.append(time.perf_counter() - begun)
    execute("TRUNCATE books, book_words, owner_words")
    return {
        "import": len(rows) / median(imported),
        "copy": len(rows) / median(copied),
        "ratio": median(a / b for a, b in zip(imported, copied, strict=True)),
    }


def exported_rows() -> list[bytes]:
    """Return the books as lines of COPY's text format."""
    buffer = io.BytesIO()
    with db.engine.connect() as connection:
        statement = f"COPY (SELECT {COLUMNS} FROM books ORDER BY id) TO STDOUT"
        connection.connection.cursor().copy_expert(statement, buffer)
    return buffer.getvalue().splitlines(keepends=True)


def raw_copy(rows: list[bytes]) -> None:
    with db.engine.connect() as connection:
        for first in range(0, len(rows), BATCH):
            batch = io.BytesIO(b"".join(rows[first : first + BATCH]))
            connection.connection.cursor().copy_expert(f"COPY books ({COLUMNS}) FROM STDIN", batch)
            connection.commit()


def write(path: Path, records: int, real: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(generated.FIELDS)
        writer.writerows(islice(generated.books(real), records))


def run(place: Deployment, *command: str, get: Get | None = None) -> dict[str, Any]:
    """Run a command of `flask books`; return its seconds and megabytes, and the GETs' times."""
    times, samples = [], []
    begun = time.perf_counter()
    process = spawn(place, "flask", "--app", "wsgi", "books", *command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        samples.append(megabytes(process.pid, "VmRSS"))
        if get:
            times += get(SAMPLE)
        else:
            time.sleep(SAMPLE)
    assert process.returncode in (0, SOME_REJECTED)  # a generated title may be None, which is none
    return {
        "seconds": time.perf_counter() - begun,
        "peak": max(samples),
        "at 10 %": samples[len(samples) // 10],
        "times": times,
    }


def describe(result: dict[str, float]) -> str:
    rows = f"{result['rows']:,}"
    return table(
        ("what", "value"),
        [
            ("import of the real catalogue, rows/s", result["import"]),
            ("raw COPY of the same rows, rows/s", result["copy"]),
            ("time of the import over that of the COPY", result["ratio"]),
            (f"`flask books import` of {rows}, while GETs are answered, rows/s", result["million"]),
            ("its memory after a tenth of the time, MB", result["memory at 10 %"]),
            ("its memory at most, MB", result["memory"]),
            ("median GET /books/{id} on a new connection, idle, ms", result["get idle"]),
            ("the same during the import, ms", result["get meanwhile"]),
            *(
                (f"`flask books export` of {rows} as {form}, {unit}", result[f"export {form}{key}"])
                for form in ("csv", "jsonl")
                for key, unit in (("", "rows/s"), (" memory", "MB"))
            ),
        ],
    )


def bounds(result: dict[str, float]) -> list[Bound]:
    # Of two bounds of the import's speed the kinder counts.
    speed = Bound("import, rows/s", result["import"], least=20_000)
    if not speed.is_met:
        speed = Bound("time of an import over a raw COPY's", result["ratio"], 1.6)
    growth = result["memory"] / result["memory at 10 %"]
    slower = result["get meanwhile"] / result["get idle"]
    return [
        speed,
        Bound("memory of an import, MB", result["memory"], 150),
        Bound("memory of an import at most, over that after a tenth", growth, 1.1),
        Bound("export, rows/s", min(result["export csv"], result["export jsonl"]), least=100_000),
        Bound("median GET during an import, over idle", slower, 2),
    ]
