"""`flask books`: catalogues come in and go out."""

import gzip
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, cast, get_args

import click
from marshmallow import ValidationError

from books_api.auth.cli import find_user
from books_api.catalogues.exceptions import UnknownColumn, UnreadableCatalogue
from books_api.catalogues.exporter import ExportFormat, export_books
from books_api.catalogues.import_columns import parse_mapping
from books_api.catalogues.importer import import_records
from books_api.catalogues.progress import Progress, run, summary
from books_api.catalogues.readers import Format, open_catalogue
from books_api.catalogues.records import REPAIRS
from books_api.catalogues.rejects import Rejects
from books_api.catalogues.staging import OnDuplicate
from books_api.cli_errors import USAGE, OperatorGroup, fail

SOME_REJECTED = 3
GZIP_MAGIC = b"\x1f\x8b"
NAMED: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}

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
@click.option(
    "--on-duplicate",
    type=click.Choice(get_args(OnDuplicate)),
    help="If a book is already there: skip the record (by default), update the book, or add"
    " another.",
)
@click.option("--duplicates", is_flag=True, hidden=True, help="--on-duplicate add, formerly.")
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Where rejected records go; beside FILE by default.",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@click.option("--quiet", is_flag=True, help="No progress; the summary only.")
def import_(
    file: str,
    owner: str,
    mappings: tuple[str, ...],
    encoding: str | None,
    strict: bool,
    on_duplicate: OnDuplicate | None,
    duplicates: bool,
    rejected: Path | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Import FILE: CSV, TSV, JSON Lines or JSON, maybe with gzip, or - for standard input.

    Columns are known by the names that Goodreads, StoryGraph, LibraryThing and we give them. A
    book is already there when the record has its id or, without an id, the owner has the same ISBN
    or, without an ISBN, the same title, author, date and publisher. An update replaces what the
    record says and keeps the rest; in a record with an id, an empty cell empties the field.

    Rejected records are written to FILE.rejected.csv, to be mended and imported again; where that
    cannot be written, to the current folder, else to the temporary one.

    Interrupted at any moment nothing is half written: run it again and it finishes the job. Two
    imports of one owner at once take turns.

    Exit status: 0 all taken, 1 failed, 2 usage, 3 some rejected.
    """
    try:
        mapping = parse_mapping(mappings)
    except ValidationError as error:
        fail(f"--map {error.messages[0]}", USAGE)
    user_id = find_user(owner).id
    on_duplicate = on_duplicate or ("add" if duplicates else "skip")
    suffix = Path(file.lower().removesuffix(".gz")).suffix
    with opened(file) as raw:
        try:
            catalogue = open_catalogue(
                raw, format=NAMED.get(suffix), mapping=mapping, encoding=encoding, strict=strict
            )
        except UnreadableCatalogue as error:
            fail(f"{file}: {error}")
        except UnknownColumn as error:
            fail(f"{file}: {error}", USAGE)
        if rejected and rejected.exists() and Path(file).exists() and rejected.samefile(file):
            fail(f"--rejected {rejected}: is the file being imported.", USAGE)
        if not quiet:
            click.echo(f"Recognised {catalogue.description}.", err=True)
        rejected = rejected or Path(f"{'stdin' if file == '-' else file}.rejected.csv")
        rejects = Rejects(None if dry_run else rejected, catalogue)
        run_import = partial(
            import_records, catalogue.records, user_id, on_duplicate=on_duplicate, dry_run=dry_run
        )
        report = run(run_import, rejects, Progress(raw, quiet), dry_run=dry_run)
    click.echo(summary(report, dry_run=dry_run, with_updates=on_duplicate == "update"))
    if rejects.count:
        click.echo(rejects.told(), err=True)
        sys.exit(SOME_REJECTED)


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
@click.option(
    "--format",
    "format_",
    type=click.Choice(get_args(ExportFormat)),
    default="csv",
    show_default=True,
    help="excel: CSV that spreadsheet programs leave as it is; ndjson, or jsonl: every member.",
)
@click.option("-o", "--output", metavar="FILE", help="Write here and not to standard output.")
def export(owner: str | None, format_: ExportFormat, output: str | None) -> None:
    """Export books, oldest first.

    Edited, they can be imported with `flask books import --on-duplicate update`.
    """
    filters = {} if owner is None else {"user_uid": find_user(owner).id}
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
