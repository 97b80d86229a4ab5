"""Messages about files."""

from marshmallow import fields
from marshmallow.validate import OneOf

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

    format = choice(["csv", "ndjson"], load_default="csv")


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

    line = fields.Integer()
    outcome = fields.String(validate=OneOf(["already there", "rejected"]))
    reason = fields.String()


class ImportReportSchema(ResponseSchema):
    """What became of the records: the three counts add up to those read."""

    dry_run = fields.Boolean()
    recognised = fields.String()
    read = fields.Integer()
    imported = fields.Integer()
    already_there = fields.Integer()
    rejected = fields.Integer()
    repairs = fields.Dict(keys=fields.String(), values=fields.Integer())
    records = fields.List(
        fields.Nested(ImportOutcomeSchema),
        metadata={"description": "Of those not imported the first 1,000, by line."},
    )
    records_not_listed = fields.Integer(
        metadata={"description": "Records not imported that `records` leaves out."}
    )
