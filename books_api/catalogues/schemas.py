"""Messages about files. web/docs/members.toml describes them."""

import re
from typing import Any, get_args

from marshmallow import fields
from marshmallow.validate import Length, OneOf

from books_api.books.models import FIELDS
from books_api.books.schemas import BookQuery
from books_api.catalogues.exporter import ExportFormat
from books_api.catalogues.import_columns import parse_mapping
from books_api.catalogues.staging import ALREADY_THERE, IMPORTED, REJECTED, UPDATED, OnDuplicate
from books_api.web.fields import BaseQuery, ResponseSchema, Text, choice, query_boolean


class ExportQuery(BookQuery):
    class Meta:
        exclude = ("limit", "cursor", "sort", "count")

    format = choice(get_args(ExportFormat))


class Mapping(fields.String):
    """Which column is which field: `title=Titel,author=Autor`; a column's name may have commas."""

    def _deserialize(  # type: ignore[override]  # what is a text in the query is none in Python
        self, value: Any, *args: Any, **kwargs: Any
    ) -> dict[str, str]:
        return parse_mapping(re.split(f",(?=(?:{'|'.join(FIELDS)})=)", str(value)))


class ImportQuery(BaseQuery):
    mapping = Mapping(data_key="map")
    encoding = Text(1, 40)
    strict = query_boolean()
    on_duplicate = choice(get_args(OnDuplicate))
    dry_run = query_boolean(load_default=False)
    duplicates = query_boolean(load_default=False, metadata={"deprecated": True})


class ImportOutcomeSchema(ResponseSchema):
    line = fields.Integer()
    outcome = fields.String(validate=OneOf([IMPORTED, UPDATED, ALREADY_THERE, REJECTED]))
    id = fields.UUID(allow_none=True)
    reason = fields.String()
    notes = fields.List(fields.String(), validate=Length(max=100))


class ImportReportSchema(ResponseSchema):
    """What became of the records: the four counts add up to those read."""

    dry_run = fields.Boolean()
    recognised = fields.String()
    read = fields.Integer()
    imported = fields.Integer()
    updated = fields.Integer()
    already_there = fields.Integer()
    rejected = fields.Integer()
    repairs = fields.Dict(keys=fields.String(), values=fields.Integer())
    records = fields.List(fields.Nested(ImportOutcomeSchema), validate=Length(max=1_000))
    records_not_listed = fields.Integer()
