"""Import and export over HTTP."""

import hashlib
import shutil
from collections.abc import Iterator
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from uuid import UUID

import orjson
from flask import Response, request, stream_with_context
from sqlalchemy import Connection
from werkzeug.exceptions import ClientDisconnected

from books_api.auth import identity, token_required
from books_api.books.idempotency import Answer, once
from books_api.books.routes import answered, idempotency_key
from books_api.books.service import owner_must_exist
from books_api.catalogues.exceptions import UnreadableCatalogue
from books_api.catalogues.exporter import export_books
from books_api.catalogues.importer import import_records
from books_api.catalogues.readers import Format, Record, open_catalogue
from books_api.catalogues.schemas import EXAMPLES, ExportQuery, ImportQuery, ImportReportSchema
from books_api.extensions import db
from books_api.web.openapi import Blueprint, problems, request_headers
from books_api.web.parsing import check_body, check_end

# Its operations are documented among those of books, whose prefix they share.
blueprint = Blueprint("catalogues", __name__)

BODY_MAX = 16 * 1024 * 1024
IN_MEMORY = 1024 * 1024
RECORDS_MAX = 200_000  # of one request: 16 MiB can hold eight million that are not imported
FORMATS: dict[str, Format] = {
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
}
CATALOGUE = {
    "required": True,
    "content": {
        name: {"schema": {"type": "string", "format": "binary"}, "example": example}
        for name, example in EXAMPLES.items()
    },
}
TEXT = {"type": "string"}
EXPORTS: dict[str, tuple[Format, str]] = {
    "csv": ("csv", "text/csv; charset=utf-8"),
    "ndjson": ("jsonl", "application/x-ndjson"),
}


@blueprint.route("/import", methods=["POST"], tags=["books"])
@token_required()
@blueprint.arguments(ImportQuery(), location="query")
@blueprint.response(200, ImportReportSchema)
@blueprint.doc(requestBody=CATALOGUE)
@request_headers("Idempotency-Key")
@problems(409)
def import_books(query: dict[str, Any]) -> Response:
    """Import books

    CSV with a header, or NDJSON, up to 16 MiB and 200,000 records; columns are known by the names
    that Goodreads, StoryGraph, LibraryThing and this API give them. All of it is one transaction,
    and a user's imports take turns: 409 when the one before takes long. The answer says what
    became of every record that was not imported; `dry_run=true` only says it.
    """
    check_body(request, *FORMATS)
    content_type = request.mimetype
    owner = UUID(identity().user_id)
    key = idempotency_key()
    with SpooledTemporaryFile(IN_MEMORY) as body:
        # All of it, before anything is done: a request that is cut off imports nothing.
        receive(body)
        fingerprint = hashlib.file_digest(body, "sha256")
        body.seek(0)

        def work(connection: Connection) -> Answer:
            return _import(body, FORMATS[content_type], owner, connection, **query)

        if query["dry_run"] or key is None:
            with owner_must_exist(), db.engine.connect() as connection:
                answer = work(connection)
                if not query["dry_run"]:
                    connection.commit()
            return answered(answer)
        fingerprint.update(f"POST /books/import {content_type} {sorted(query.items())}".encode())
        return answered(once(owner, key, fingerprint.digest(), work))


def receive(body: IO[bytes]) -> None:
    """Copy the request's body and rewind it; refuse one that is too long or was cut off."""
    request.max_content_length = BODY_MAX
    shutil.copyfileobj(request.stream, body)
    size = body.tell()
    if request.content_length not in (None, size):  # the end came early, which nobody tells us
        raise ClientDisconnected
    check_end(request, size)
    body.seek(0)


def _import(
    body: IO[bytes],
    format: Format,
    owner: UUID,
    connection: Connection,
    *,
    dry_run: bool,
    duplicates: bool,
) -> Answer:
    catalogue = open_catalogue(body, format=format)
    outcomes: list[dict[str, Any]] = []

    def on_outcome(record: Record, outcome: str, reason: str) -> None:
        outcomes.append({"line": record.line, "outcome": outcome, "reason": reason})

    report = import_records(
        _bounded(catalogue.records),
        owner,
        connection=connection,
        on_outcome=on_outcome,
        duplicates=duplicates,
    )
    document = {
        "dry_run": dry_run,
        "recognised": catalogue.description,
        "read": report.read,
        "imported": report.imported,
        "already_there": report.already_there,
        "rejected": report.rejected,
        "repairs": dict(report.repairs),
        "records": sorted(outcomes, key=lambda outcome: int(outcome["line"])),
    }
    return Answer(200, {}, orjson.dumps(document).decode())


def _bounded(records: Iterator[Record]) -> Iterator[Record]:
    for number, record in enumerate(records):
        if number == RECORDS_MAX:
            raise UnreadableCatalogue(
                f"More than {RECORDS_MAX:,} records; send them in several requests."
            )
        yield record


@blueprint.route("/export", methods=["GET"], tags=["books"])
@token_required()
@blueprint.arguments(ExportQuery(), location="query")
@blueprint.response(200, TEXT, content_type="text/csv")
@blueprint.alt_response(200, schema=TEXT, content_type="application/x-ndjson")
@problems(422)
def export(query: dict[str, Any]) -> Response:
    """Export books

    Yours, or another user's with `user_uid`, oldest first, with the filters of the list: CSV, or
    NDJSON with `format=ndjson`. What is exported can be imported again.
    """
    format, content_type = EXPORTS[query.pop("format")]
    pieces = export_books(format, {"user_uid": UUID(identity().user_id), **query})
    first = next(pieces, b"")  # an error of the query is still an answer of its own
    return Response(
        stream_with_context(chain([first], pieces)),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="books.{format}"'},
    )
