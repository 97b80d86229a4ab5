"""Messages about changes of the catalogue."""

from marshmallow import fields
from marshmallow.validate import Length, Range

from books_api.books.schemas import BookSchema
from books_api.web.fields import (
    CURSOR_MAX,
    OUT_OF_RANGE,
    BaseQuery,
    QueryInteger,
    ResponseSchema,
    Text,
    Timestamp,
    UUIDField,
)

CHANGES_DEFAULT, CHANGES_MAX = 100, 1_000  # in an answer


class ChangesQuery(BaseQuery):
    """Changes since when, and whose."""

    limit = QueryInteger(
        load_default=CHANGES_DEFAULT,
        validate=Range(1, CHANGES_MAX, error=OUT_OF_RANGE),
        metadata={"description": "Maximum number of changes in the answer."},
    )
    cursor = Text(
        1,
        CURSOR_MAX,
        trim=False,
        metadata={
            "description": "`cursor` of the last answer; none to begin with; opaque.",
            "examples": ["b2Rvc2FnZQ"],
        },
    )
    user_uid = UUIDField(metadata={"description": "Only books of this owner."})


class DeletedBookSchema(ResponseSchema):
    """A book that is gone."""

    id = fields.UUID(metadata={"description": "Id of the book."})
    deleted_at = Timestamp(metadata={"description": "Time of the deletion."})


class ChangesSchema(ResponseSchema):
    """What has changed since the cursor."""

    books = fields.List(
        fields.Nested(BookSchema),
        validate=Length(max=CHANGES_MAX),
        metadata={"description": "New and changed books, each in its current state."},
    )
    deleted = fields.List(
        fields.Nested(DeletedBookSchema),
        validate=Length(max=CHANGES_MAX),
        metadata={"description": "Books that are gone; drop them from your copy."},
    )
    cursor = fields.String(
        metadata={"description": "Cursor of the next request.", "examples": ["b2Rvc2FnZQ"]}
    )
    more = fields.Boolean(
        metadata={"description": "True when there may be more changes: ask again at once."}
    )
