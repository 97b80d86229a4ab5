"""Import and export over HTTP."""

import hashlib
from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID

from flask import Response, request, stream_with_context
from orjson import dumps

from books_api.auth import identity, token_required
from books_api.auth.idempotency import idempotency_key, replay_headers, run_idempotent
from books_api.catalogues.exporter import ExportFormat, export_books
from books_api.catalogues.schemas import ExportQuery, ImportQuery, ImportReportSchema
from books_api.catalogues.service import import_file, read_file
from books_api.catalogues.uploads import received_file
from books_api.web.openapi import OPERATIONS, Blueprint, problems, request_headers

# Its operations are documented among those of books, whose prefix they share.
blueprint = Blueprint("catalogues", __name__)

FILES = OPERATIONS["files"]
CSV, NDJSON = "text/csv", "application/x-ndjson"
# The first one is for who accepts anything.
ACCEPTED: dict[str, ExportFormat] = {
    CSV: "csv",
    NDJSON: "ndjson",
    "application/jsonl": "jsonl",
    "application/vnd.ms-excel": "excel",
}


@blueprint.route("/import", methods=["POST"], tags=["books"])
@token_required(writes=True)
@blueprint.arguments(ImportQuery(), location="query")
@blueprint.answers(200, ImportReportSchema)
@blueprint.doc(requestBody={"required": True, "content": FILES})
@request_headers("Idempotency-Key")
@problems(409)
def import_books(query: dict[str, Any]) -> Response:
    """Import books

    CSV or TSV with a header, JSON Lines or JSON, up to 16 MiB and 200,000 records: as the body,
    which may have `Content-Encoding: gzip`, or as the one file of a form
    (`multipart/form-data`). Columns are known by the names that
    Goodreads, StoryGraph, LibraryThing and this API give them. All of it is one transaction; 409
    while another import of yours is running. The answer counts what became of the records, and
    lists up to 1,000, rejected ones first; `flask books import` writes all that it rejects to a
    file. `dry_run=true` changes nothing.
    """
    owner, key = UUID(identity().user_id), idempotency_key()

    def fingerprint() -> bytes:
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]  # a binary file
        digest.update(f"POST /books/import {request.mimetype} {sorted(query.items())}".encode())
        return digest.digest()

    with received_file(request) as (file, format):
        catalogue = read_file(file, format, query)
        report, is_replay = run_idempotent(
            str(owner),
            None if query["dry_run"] else key,
            fingerprint,
            partial(import_file, catalogue, owner, query),
        )
    # Keys of release 1.0 are without some.
    report = {"updated": 0, "records_not_listed": 0, **report}
    report["records"] = [{"id": None, "notes": [], **record} for record in report["records"]]
    response = Response(dumps(report), content_type="application/json")
    response.headers.update(replay_headers(is_replay))
    return response


@blueprint.route("/export", methods=["GET"], tags=["books"], endpoint="export_books")
@token_required(late=True)
@blueprint.arguments(ExportQuery(), location="query")
@blueprint.answers(200, **FILES[CSV], content_type=CSV)
@blueprint.alt_response(200, **FILES[NDJSON], content_type=NDJSON)
@problems(422, 429)
def export(query: dict[str, Any]) -> Response:
    """Export books

    Yours, or another user's with `user_uid`, oldest first, with the filters of the list: CSV, CSV
    for spreadsheet programs (`excel`), or NDJSON, which has all members. Without `format` the
    `Accept` header chooses. What is exported can be edited and imported again with
    `on_duplicate=update`.
    """
    accepted = request.accept_mimetypes.best_match(ACCEPTED, CSV)
    format = query.pop("format", None) or ACCEPTED[accepted]
    user_id = identity().user_id
    pieces = export_books(format, {"user_uid": UUID(user_id), **query}, user_id)
    first = next(pieces, b"")  # an error of the query is still an answer of its own
    is_json = format in ("ndjson", "jsonl")
    response = Response(
        stream_with_context(chain([first], pieces)),
        content_type=NDJSON if is_json else f"{CSV}; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="books.{"jsonl" if is_json else "csv"}"',
            "Vary": "Accept",
        },
    )
    response.call_on_close(pieces.close)  # also of a client that is gone: it has a slot
    return response
