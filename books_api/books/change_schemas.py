"""Messages about changes of the catalogue. docs/members.toml describes them."""

from marshmallow import fields
from marshmallow.validate import Length

from books_api.books.schemas import BookSchema
from books_api.web.fields import (
    CURSOR_MAX,
    BaseQuery,
    QueryInteger,
    ResponseSchema,
    Text,
    Timestamp,
    UUIDField,
    within,
)

CHANGES_DEFAULT, CHANGES_MAX = 100, 1_000  # in an answer


class ChangesQuery(BaseQuery):
    limit = QueryInteger(load_default=CHANGES_DEFAULT, validate=within(1, CHANGES_MAX))
    cursor = Text(1, CURSOR_MAX, trim=False)
    user_uid = UUIDField()


class DeletedBookSchema(ResponseSchema):
    id = fields.UUID()
    deleted_at = Timestamp()


class ChangesSchema(ResponseSchema):
    books = fields.List(fields.Nested(BookSchema), validate=Length(max=CHANGES_MAX))
    deleted = fields.List(fields.Nested(DeletedBookSchema), validate=Length(max=CHANGES_MAX))
    cursor = fields.String()
    more = fields.Boolean()
