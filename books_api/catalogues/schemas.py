"""Messages about files."""

from marshmallow import fields
from marshmallow.validate import Length, OneOf

from books_api.books.schemas import BookQuery
from books_api.web.fields import BaseQuery, QueryBoolean, ResponseSchema, choice

_JSON_LINE = '{"title": "The Hobbit", "author": "J. R. R. Tolkien", "isbn": "9780261102217"}\n'
EXAMPLES = {
    "text/csv": "Title,Author,ISBN\nThe Hobbit,J. R. R. Tolkien,9780261102217\n",
    "application/x-ndjson": _JSON_LINE,
    "application/jsonl": _JSON_LINE,
}


class ExportQuery(BookQuery):
    """Which books, in which format."""

    class Meta:
        exclude = ("limit", "cursor", "sort", "count")

    format = choice(
        ["csv", "ndjson"],
        load_default="csv",
        metadata={"description": "CSV, or one JSON object on each line."},
    )


class ImportQuery(BaseQuery):
    """How to import."""

    dry_run = QueryBoolean(
        load_default=False, metadata={"description": "Say what would happen; change nothing."}
    )
    duplicates = QueryBoolean(
        load_default=False, metadata={"description": "Import also what is already there."}
    )


class ImportOutcomeSchema(ResponseSchema):
    """What became of a record that was not imported."""

    line = fields.Integer(metadata={"description": "Line of the file where it begins."})
    outcome = fields.String(
        validate=OneOf(["already there", "rejected"]), metadata={"description": "What it is now."}
    )
    reason = fields.String(
        metadata={"description": "Why, for people.", "examples": ["title: Is required."]}
    )


class ImportReportSchema(ResponseSchema):
    """What became of the records: the three counts add up to those read."""

    dry_run = fields.Boolean(metadata={"description": "True when nothing was changed."})
    recognised = fields.String(
        metadata={"description": "Whose export it is, and its encoding.", "examples": ["csv"]}
    )
    read = fields.Integer(metadata={"description": "Records in the file."})
    imported = fields.Integer(metadata={"description": "Records that are new books now."})
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
        metadata={"description": "Of those not imported the first 1,000, by line."},
    )
    records_not_listed = fields.Integer(
        metadata={"description": "Records not imported that `records` leaves out."}
    )
