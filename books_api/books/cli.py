"""`flask books`: catalogues come in and go out."""

import csv
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import click
from sqlalchemy.exc import DBAPIError

from books_api.auth import UserNotFound, find_user
from books_api.books.exporter import Format, export_books
from books_api.books.formats import (
    Catalogue,
    Record,
    UnknownColumn,
    UnreadableCatalogue,
    open_catalogue,
)
from books_api.books.importer import REJECTED, Report, import_records
from books_api.books.records import REPAIRS
from books_api.commands import FAILED, USAGE, OperatorGroup, fail, first_line
from books_api.extensions import db

SOME_REJECTED = 3
EVERY = 5.0  # seconds between two lines of progress where there is no terminal

group = OperatorGroup("books", help="Import and export catalogues.")


@group.command("import", epilog="Repairs, counted in the summary: " + "; ".join(REPAIRS) + ".")
@click.argument("file")
@click.option("--owner", required=True, metavar="EMAIL", help="Whose books they become.")
@click.option(
    "--map",
    "mappings",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Where a field is, when its column is not known by name: title=Titel.",
)
@click.option("--duplicates", is_flag=True, help="Import also what is already there.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@click.option("--quiet", is_flag=True, help="No progress; the summary only.")
def import_(
    file: str, owner: str, mappings: tuple[str, ...], duplicates: bool, dry_run: bool, quiet: bool
) -> None:
    """Import FILE: CSV or JSON Lines, maybe with gzip, or - for standard input.

    Columns are known by the names that Goodreads, StoryGraph, LibraryThing and we give them. A
    book is already there when the owner has the same ISBN or, without one, the same title, author
    and date. Rejected records are written to FILE.rejected.csv, to be mended and imported again.

    Interrupted at any moment nothing is half written: run it again and it finishes the job.

    Exit status: 0 all taken, 1 failed, 2 usage, 3 some rejected.
    """
    mapping = parse_mappings(mappings)
    user_id = owner_id(owner)
    with opened(file) as raw:
        try:
            catalogue = open_catalogue(raw, mapping=mapping)
        except UnreadableCatalogue as error:
            fail(f"{file}: {error}")
        except UnknownColumn as error:
            fail(f"{file}: {error}", USAGE)
        if not quiet:
            click.echo(f"Recognised {catalogue.description}.", err=True)
        rejects = Rejects(None if dry_run else rejected_path(file), catalogue)
        report = run(raw, catalogue, user_id, rejects, duplicates, dry_run, quiet)
    click.echo(summary(report, dry_run))
    if rejects.count:
        click.echo(rejects.told(), err=True)
        sys.exit(SOME_REJECTED)


def run(
    raw: IO[bytes],
    catalogue: Catalogue,
    user_id: UUID,
    rejects: "Rejects",
    duplicates: bool,
    dry_run: bool,
    quiet: bool,
) -> Report:
    """Import batch by batch, each committed; say how far it came when it cannot go on."""
    report = Report()
    progress = Progress(raw, quiet)
    with db.engine.connect() as connection, rejects:

        def after_batch(so_far: Report) -> None:
            nonlocal report
            if not dry_run:
                connection.commit()
                rejects.flush()
            report = replace(so_far, repairs=Counter(so_far.repairs))
            progress.update(so_far)

        try:
            import_records(
                catalogue.records,
                user_id,
                connection=connection,
                on_outcome=rejects.add,
                after_batch=after_batch,
                duplicates=duplicates,
            )
        except KeyboardInterrupt:
            fail(f"interrupted; {stopped(report, dry_run)}")
        except (DBAPIError, UnreadableCatalogue, UnknownColumn) as error:
            fail(f"{first_line(error)}; {stopped(report, dry_run)}")
        connection.rollback()  # what a dry run did; otherwise there is nothing left to undo
        progress.finish()
    return report


def stopped(report: Report, dry_run: bool) -> str:
    if dry_run:
        return "nothing was changed."
    return (
        f"{report.imported:,} imported up to line {report.last_line:,}."
        " Run it again to finish the job."
    )


def summary(report: Report, dry_run: bool) -> str:
    """Return the counts, which add up, and the repairs."""
    lines = [
        f"{report.read:,} records: {report.imported:,} {'would be ' * dry_run}imported,"
        f" {report.already_there:,} already there, {report.rejected:,} rejected."
    ]
    lines += [f"Repaired: {count:,} x {repair}." for repair, count in report.repairs.items()]
    return "\n".join(lines)


def parse_mappings(mappings: tuple[str, ...]) -> dict[str, str]:
    """Return field -> column. Exits with 2 on a bad form, and on a field mapped twice."""
    mapping: dict[str, str] = {}
    for text in mappings:
        name, equals, column = text.partition("=")
        if not equals or not name or not column:
            fail(f"--map {text}: must be FIELD=COLUMN.", USAGE)
        if name in mapping:
            fail(f"--map {text}: the field {name} is mapped twice.", USAGE)
        if column in mapping.values():
            fail(f"--map {text}: the column {column} is mapped twice.", USAGE)
        mapping[name] = column
    return mapping


def owner_id(email: str) -> UUID:
    try:
        return find_user(email).id
    except (UserNotFound, ValueError):
        fail(f"There is no user with the email {click.format_filename(email)}.")
    finally:
        db.session.rollback()


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """Open a file, or standard input kept in a temporary file, to be read more than once."""
    if file == "-":
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.seek(0)
            yield spool
        return
    try:
        raw = open(file, "rb")  # noqa: SIM115  # closed below
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        fail(f"{click.format_filename(file)}: {reason}.")
    with raw:
        yield raw


def rejected_path(file: str) -> Path:
    return Path("stdin.rejected.csv" if file == "-" else f"{file}.rejected.csv")


class Rejects:
    """Rejected records: line, reason and the record as it was. No file when there are none."""

    def __init__(self, path: Path | None, catalogue: Catalogue) -> None:
        self.path, self.header, self.count = path, catalogue.header, 0
        self.first: list[str] = []
        self._file: Any = None

    def __enter__(self) -> "Rejects":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: Record, outcome: str, reason: str) -> None:
        if outcome != REJECTED:
            return
        self.count += 1
        if self.path is None:
            if self.count <= 20:
                self.first.append(f"Line {record.line}: {reason}")
            return
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow(["line", "reason", *self.header])
        self._writer.writerow([record.line, reason, *record.cells])

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def told(self) -> str:
        if self.path is not None:
            return f"Rejected records are in {self.path}."
        rest = self.count - len(self.first)
        return "\n".join(self.first + [f"And {rest:,} more."] * bool(rest))


class Progress:
    """A bar on a terminal, a line every few seconds elsewhere, silence if quiet."""

    def __init__(self, raw: IO[bytes], quiet: bool) -> None:
        self.raw, self.quiet = raw, quiet
        self.size = os.fstat(raw.fileno()).st_size
        self.started = self.told = time.monotonic()
        self.bar: Any = None
        if not quiet and sys.stderr.isatty():
            self.bar = click.progressbar(length=self.size, label="Importing", file=sys.stderr)
            self.bar.__enter__()

    def update(self, report: Report) -> None:
        now = time.monotonic()
        rate = report.read / max(now - self.started, 0.001)
        if self.bar is not None:
            self.bar.label = f"Importing {rate:,.0f} records/s"
            self.bar.update(max(0, self.raw.tell() - self.bar.pos))
        elif not self.quiet and now - self.told >= EVERY:
            self.told = now
            done = min(self.raw.tell() / max(self.size, 1), 1)
            click.echo(f"{report.read:,} records, {done:.0%}, {rate:,.0f} records/s", err=True)

    def finish(self) -> None:
        if self.bar is not None:
            with suppress(OSError):
                self.bar.__exit__(None, None, None)


@group.command("export")
@click.option("--owner", metavar="EMAIL", help="Only this user's books.")
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), default="csv")
@click.option("-o", "--output", metavar="FILE", help="Write here and not to standard output.")
def export(owner: str | None, format_: Format, output: str | None) -> None:
    """Export books, oldest first: what `flask books import` reads again."""
    filters = {} if owner is None else {"user_uid": owner_id(owner)}
    pieces = export_books(format_, filters)
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    partial = Path(f"{output}.part")  # renamed when it is whole
    try:
        with partial.open("wb") as file:
            file.writelines(pieces)
        partial.replace(output)
    except OSError as error:
        fail(f"{output}: {error.strerror}.", FAILED)
    finally:
        partial.unlink(missing_ok=True)
