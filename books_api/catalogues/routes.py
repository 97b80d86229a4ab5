"""Import and export over HTTP."""

import hashlib
import shutil
from functools import partial
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from uuid import UUID

from flask import Response, request, stream_with_context
from orjson import dumps
from werkzeug.exceptions import ClientDisconnected

from books_api.auth import identity, token_required
from books_api.books.idempotency import idempotency_key, run_idempotent
from books_api.books.routes import replayed
from books_api.catalogues.exporter import export_books
from books_api.catalogues.readers import Format
from books_api.catalogues.schemas import EXAMPLES, ExportQuery, ImportQuery, ImportReportSchema
from books_api.catalogues.service import import_file, read_file
from books_api.config import IMPORT_BODY_MAX
from books_api.web.openapi import Blueprint, problems, request_headers
from books_api.web.parsing import check_body, check_end

# Its operations are documented among those of books, whose prefix they share.
blueprint = Blueprint("catalogues", __name__)

IN_MEMORY = 1024 * 1024
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
CSV, NDJSON = "text/csv", "application/x-ndjson"
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
    that Goodreads, StoryGraph, LibraryThing and this API give them. All of it is one transaction;
    409 while another import of yours is running. The answer counts what became of the records, and
    lists the first 1,000 of those that were not imported; `flask books import` writes all that it
    rejects to a file. `dry_run=true` changes nothing.
    """
    check_body(request, *FORMATS)
    format = FORMATS[request.mimetype]
    owner, key = UUID(identity().user_id), idempotency_key()
    with SpooledTemporaryFile(IN_MEMORY) as body:
        # All of it, before anything is done: a request that is cut off imports nothing.
        receive(body)
        catalogue = read_file(body, format)
        report, is_replay = run_idempotent(
            owner,
            None if query["dry_run"] else key,
            partial(_fingerprint, body, query),
            partial(import_file, catalogue, owner, **query),
        )
    report.setdefault("records_not_listed", 0)  # keys of release 1.0 are without it
    response = Response(dumps(report), content_type="application/json")
    return replayed(response) if is_replay else response


def receive(body: IO[bytes]) -> None:
    """Copy the request's body and rewind it; refuse one that is too long or was cut off."""
    request.max_content_length = IMPORT_BODY_MAX
    shutil.copyfileobj(request.stream, body)
    size = body.tell()
    if request.content_length not in (None, size):  # the end came early, which nobody tells us
        raise ClientDisconnected
    check_end(request, size)
    body.seek(0)


def _fingerprint(body: IO[bytes], query: dict[str, Any]) -> bytes:
    body.seek(0)
    digest = hashlib.file_digest(body, "sha256")  # type: ignore[arg-type]  # a binary file
    request_line = f"POST /books/import {request.mimetype} {sorted(query.items())}"
    digest.update(request_line.encode())
    return digest.digest()


@blueprint.route("/export", methods=["GET"], tags=["books"], endpoint="export_books")
@token_required()
@blueprint.arguments(ExportQuery(), location="query")
@blueprint.response(200, TEXT, content_type=CSV, example=EXAMPLES[CSV])
@blueprint.alt_response(200, schema=TEXT, content_type=NDJSON, example=EXAMPLES[NDJSON])
@problems(422, 429)
def export(query: dict[str, Any]) -> Response:
    """Export books

    Yours, or another user's with `user_uid`, oldest first, with the filters of the list: CSV, or
    NDJSON with `format=ndjson`. What is exported can be imported again.
    """
    format, content_type = EXPORTS[query.pop("format")]
    user_id = identity().user_id
    pieces = export_books(format, {"user_uid": UUID(user_id), **query}, user_id)
    first = next(pieces, b"")  # an error of the query is still an answer of its own
    response = Response(
        stream_with_context(chain([first], pieces)),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="books.{format}"'},
    )
    response.call_on_close(pieces.close)  # also of a client that is gone: it has a slot
    return response
