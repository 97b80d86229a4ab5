"""Messages about files."""

import json
import re
from typing import Any, get_args

from marshmallow import fields
from marshmallow.validate import Length, OneOf

from books_api.books.models import FIELDS
from books_api.books.schemas import BookQuery
from books_api.catalogues.columns import parse_mapping
from books_api.catalogues.exporter import ExportFormat
from books_api.catalogues.staging import ALREADY_THERE, IMPORTED, REJECTED, UPDATED, OnDuplicate
from books_api.web.fields import BaseQuery, QueryBoolean, ResponseSchema, Text, choice

_CSV = "Title,Author,ISBN\nThe Hobbit,J. R. R. Tolkien,9780261102217\n"
_JSON = {"title": "The Hobbit", "author": "J. R. R. Tolkien", "isbn": "9780261102217"}
FILE = {"type": "string", "format": "binary"}
# A form is read, too; documented, it makes generators of clients import a type that they leave out.
FILES: dict[str, dict[str, Any]] = {
    "text/csv": {"schema": FILE, "example": _CSV},
    "text/tab-separated-values": {"schema": FILE, "example": _CSV.replace(",", "\t")},
    "application/x-ndjson": {"schema": FILE, "example": f"{json.dumps(_JSON)}\n"},
    "application/jsonl": {"schema": FILE, "example": f"{json.dumps(_JSON)}\n"},
    "application/json": {"schema": {"type": "object"}, "example": _JSON},
    "application/vnd.ms-excel": {"schema": FILE, "example": _CSV.replace(",", ";")},
    "application/octet-stream": {"schema": FILE, "example": _CSV},
}


class ExportQuery(BookQuery):
    """Which books, in which format."""

    class Meta:
        exclude = ("limit", "cursor", "sort", "count")

    format = choice(
        get_args(ExportFormat),
        metadata={
            "description": "CSV, CSV for spreadsheet programs, or one JSON object on each line;"
            " without it the Accept header chooses."
        },
    )


class Mapping(fields.String):
    """Which column is which field: `title=Titel,author=Autor`; a column's name may have commas."""

    def _deserialize(  # type: ignore[override]  # what is a text in the query is none in Python
        self, value: Any, *args: Any, **kwargs: Any
    ) -> dict[str, str]:
        return parse_mapping(re.split(f",(?=(?:{'|'.join(FIELDS)})=)", str(value)))


class ImportQuery(BaseQuery):
    """How to import."""

    mapping = Mapping(
        data_key="map",
        metadata={
            "description": "Where fields are, if their columns are not known by name:"
            " `title=Titel,author=Autor`.",
            "examples": ["title=Title"],
        },
    )
    encoding = Text(
        1,
        40,
        metadata={
            "description": "The encoding, if it is not recognised: `cp1250`, `gbk`.",
            "examples": ["utf-8"],
        },
    )
    strict = QueryBoolean(
        metadata={"description": "Reject a record for a cell that cannot be read."}
    )
    on_duplicate = choice(
        get_args(OnDuplicate),
        metadata={
            "description": "A book that is already there (the record has its id or, without one,"
            " you have the same ISBN or, without an ISBN, the same title, author, date and"
            " publisher) is left as it is (`skip`, the default), changed to what the record says"
            " (`update`), or added again (`add`). In a record with an id, an empty cell empties"
            " the field."
        },
    )

    dry_run = QueryBoolean(
        load_default=False, metadata={"description": "Say what would happen; change nothing."}
    )
    duplicates = QueryBoolean(
        load_default=False,
        metadata={"description": "Formerly `on_duplicate=add`.", "deprecated": True},
    )


class ImportOutcomeSchema(ResponseSchema):
    """What became of a record, and of which book."""

    line = fields.Integer(
        metadata={
            "description": "Line of the file where it begins; in a JSON document, the number of"
            " the record."
        }
    )
    outcome = fields.String(
        validate=OneOf([IMPORTED, UPDATED, ALREADY_THERE, REJECTED]),
        metadata={"description": "What it is now."},
    )
    id = fields.UUID(allow_none=True, metadata={"description": "Of its book; null if rejected."})
    reason = fields.String(
        metadata={
            "description": "Why it was not imported, for people.",
            "examples": ["title: Is required."],
        }
    )
    notes = fields.List(
        fields.String(),
        validate=Length(max=100),
        metadata={"description": "What was left out or repaired.", "examples": [["isbn left out"]]},
    )


class ImportReportSchema(ResponseSchema):
    """What became of the records: the four counts add up to those read."""

    dry_run = fields.Boolean(metadata={"description": "True when nothing was changed."})
    recognised = fields.String(
        metadata={
            "description": "What was recognised: format, encoding, columns, order of dates, columns"
            " not used.",
            "examples": ["csv"],
        }
    )
    read = fields.Integer(metadata={"description": "Records in the file."})
    imported = fields.Integer(metadata={"description": "Records that are new books now."})
    updated = fields.Integer(metadata={"description": "Records that changed books."})
    already_there = fields.Integer(metadata={"description": "Records of books that you have."})
    rejected = fields.Integer(metadata={"description": "Records that are no books."})
    repairs = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"description": "Number of each kind of repair.", "examples": [{"isbn": 2}]},
    )
    records = fields.List(
        fields.Nested(ImportOutcomeSchema),
        validate=Length(max=1_000),
        metadata={"description": "Up to 1,000 by line: rejected ones first, imported ones last."},
    )
    records_not_listed = fields.Integer(
        metadata={"description": "Records that `records` leaves out."}
    )
