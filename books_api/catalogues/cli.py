"""`flask books`: catalogues come in and go out."""

import gzip
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, cast
from uuid import UUID

import click
from sqlalchemy.exc import DBAPIError

from books_api.auth.cli import find_user
from books_api.catalogues.exceptions import UnknownColumn, UnreadableCatalogue
from books_api.catalogues.exporter import export_books
from books_api.catalogues.importer import Report, import_records
from books_api.catalogues.progress import Progress
from books_api.catalogues.readers import Catalogue, Format, open_catalogue
from books_api.catalogues.records import REPAIRS
from books_api.catalogues.rejects import Rejects
from books_api.commands import USAGE, OperatorGroup, fail, first_line
from books_api.extensions import db
from books_api.web.problems import Problem

SOME_REJECTED = 3
GZIP_MAGIC = b"\x1f\x8b"

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
@click.option("--encoding", metavar="NAME", help="Where it is not recognised: cp1250, gbk.")
@click.option("--strict", is_flag=True, help="Reject a record for a cell that cannot be read.")
@click.option("--duplicates", is_flag=True, help="Import also what is already there.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@click.option("--quiet", is_flag=True, help="No progress; the summary only.")
def import_(
    file: str,
    owner: str,
    mappings: tuple[str, ...],
    encoding: str | None,
    strict: bool,
    duplicates: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Import FILE: CSV or JSON Lines, maybe with gzip, or - for standard input.

    Columns are known by the names that Goodreads, StoryGraph, LibraryThing and we give them. A
    book is already there when the owner has the same ISBN or, without one, the same title, author
    and date. Rejected records are written to FILE.rejected.csv, to be mended and imported again.

    Interrupted at any moment nothing is half written: run it again and it finishes the job. Two
    imports of one owner at once take turns.

    Exit status: 0 all taken, 1 failed, 2 usage, 3 some rejected.
    """
    mapping = parse_mappings(mappings)
    user_id = owner_id(owner)
    with opened(file) as raw:
        try:
            catalogue = open_catalogue(
                raw,
                format=named_format(file),
                mapping=mapping,
                encoding=encoding,
                strict=strict,
            )
        except UnreadableCatalogue as error:
            fail(f"{file}: {error}")
        except UnknownColumn as error:
            fail(f"{file}: {error} See --map.", USAGE)
        if not quiet:
            click.echo(f"Recognised {catalogue.description}.", err=True)
        rejected = Path(f"{'stdin' if file == '-' else file}.rejected.csv")
        rejects = Rejects(None if dry_run else rejected, catalogue)
        report = run(raw, catalogue, user_id, rejects, duplicates, dry_run, quiet)
    click.echo(summary(report, dry_run))
    if rejects.count:
        click.echo(rejects.told(), err=True)
        sys.exit(SOME_REJECTED)


def run(
    raw: IO[bytes],
    catalogue: Catalogue,
    user_id: UUID,
    rejects: Rejects,
    duplicates: bool,
    dry_run: bool,
    quiet: bool,
) -> Report:
    """Import batch by batch, each committed; say how far it came when it cannot go on."""
    report = Report()
    progress = Progress(raw, quiet)
    interrupts: list[int] = []

    def on_batch(so_far: Report) -> None:
        nonlocal report
        rejects.flush()
        report = replace(so_far, repairs=Counter(so_far.repairs))
        progress.update(so_far)
        if interrupts:
            raise KeyboardInterrupt

    reason = ""
    with rejects:
        try:
            # Ctrl-C waits for the end of a batch, or one could be committed and not reported.
            default = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
            try:
                import_records(
                    catalogue.records,
                    user_id,
                    on_outcome=rejects.add,
                    duplicates=duplicates,
                    dry_run=dry_run,
                    on_batch=on_batch,
                )
            finally:
                signal.signal(signal.SIGINT, default)
        except KeyboardInterrupt:
            reason = "interrupted"
        except (DBAPIError, Problem) as error:
            reason = first_line(error)
        except OSError as error:
            reason = f"{rejects.path}: {error.strerror}"
        progress.finish()
    if reason:
        fail(f"{reason.rstrip('.')}; {stopped(report, dry_run)}")
    return report


def stopped(report: Report, dry_run: bool) -> str:
    if dry_run:
        return "nothing was changed."
    there = f", {report.already_there:,} already there" * bool(report.already_there)
    return (
        f"{report.imported:,} imported{there}, up to line {report.last_line:,}."
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
    for option in mappings:
        name, equals, column = option.partition("=")
        if not equals or not name or not column:
            fail(f"--map {option}: must be FIELD=COLUMN.", USAGE)
        if name in mapping:
            fail(f"--map {option}: the field {name} is mapped twice.", USAGE)
        if column in mapping.values():
            fail(f"--map {option}: the column {column} is mapped twice.", USAGE)
        mapping[name] = column
    return mapping


def owner_id(email: str) -> UUID:
    try:
        return find_user(email).id
    finally:
        db.session.rollback()


def named_format(file: str) -> Format | None:
    """Return the format that the name of the file says; None when it says nothing."""
    match Path(file.lower().removesuffix(".gz")).suffix:
        case ".jsonl" | ".ndjson":
            return "jsonl"
        case ".csv" | ".tsv":
            return "csv"
    return None


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """Open a file to be read more than once: what is a stream is kept in a temporary file."""
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(click.open_file(file, "rb"))
            if file == "-" or not raw.seekable():
                spool = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(raw, spool)
                raw = spool
            raw.seek(0)
            zipped = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            raw.seek(0)
        except (OSError, ValueError) as error:
            name = "standard input" if file == "-" else click.format_filename(file)
            fail(f"{name}: {getattr(error, 'strerror', None) or error}.")
        if zipped:
            raw = cast(IO[bytes], stack.enter_context(gzip.open(raw)))
        yield raw


@group.command("export")
@click.option("--owner", metavar="EMAIL", help="Only this user's books.")
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), default="csv")
@click.option("-o", "--output", metavar="FILE", help="Write here and not to standard output.")
def export(owner: str | None, format_: Format, output: str | None) -> None:
    """Export books, oldest first: what `flask books import` reads again."""
    filters = {} if owner is None else {"user_uid": owner_id(owner)}
    pieces = export_books(format_, filters)
    target = Path(output or "-")
    if output is None or (target.exists() and not target.is_file()):  # a pipe, /dev/stdout
        with click.open_file(str(target), "wb") as stream:
            stream.writelines(pieces)
        return
    partial = Path(f"{output}.part")  # renamed when it is whole
    try:
        with partial.open("wb") as file:
            file.writelines(pieces)
        partial.replace(target)
    except OSError as error:
        fail(f"{output}: {error.strerror}.")
    finally:
        partial.unlink(missing_ok=True)
