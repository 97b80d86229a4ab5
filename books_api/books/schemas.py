"""Messages about books: their form, never the database."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from marshmallow import ValidationError, fields
from marshmallow.validate import Range
from stdnum import isbn as stdnum_isbn

from books_api.books.models import (
    AUTHOR_MAX,
    LANGUAGE_MAX,
    PAGE_COUNT_MAX,
    PUBLISHER_MAX,
    TITLE_MAX,
)
from books_api.fields import BaseSchema, Text, Timestamp

PARTIAL_DATE = r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?"
ISBN = r"(?!0{10})[0-9]{9}[0-9X]|97[89][0-9]{10}"


def parse_partial_date(value: str) -> date:
    """Return the first day of YYYY, YYYY-MM or YYYY-MM-DD. Raises ValidationError."""
    if not re.fullmatch(PARTIAL_DATE, value):
        raise ValidationError("Must be a date: YYYY, YYYY-MM or YYYY-MM-DD.")
    year, month, day = ([int(part) for part in value.split("-")] + [1, 1])[:3]
    try:
        return date(year, month, day)
    except ValueError:
        raise ValidationError("Is not a date that exists, of the years 0001 to 9999.") from None


def parse_isbn(value: str) -> str:
    """Return the 13 digits of an ISBN-10 or ISBN-13. Raises ValidationError."""
    digits = stdnum_isbn.compact(value)
    if not re.fullmatch(ISBN, digits):
        raise ValidationError("Must be an ISBN of 10 or 13 digits.")
    if not stdnum_isbn.is_valid(digits):
        raise ValidationError("The check digit of the ISBN is wrong.")
    return str(stdnum_isbn.to_isbn13(digits))


class PartialDate(Text):
    """A date as precise as it is known, given back as it came."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            4, 10, metadata={"pattern": f"^{PARTIAL_DATE}$", "examples": ["1937-09-21"]}, **kwargs
        )

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        parse_partial_date(text)
        return text


class ISBNField(Text):
    """An ISBN in any usual form; 13 digits in the answer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            10, 32, metadata={"format": "isbn", "examples": ["9780261102217"]}, **kwargs
        )

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        return parse_isbn(super()._deserialize(value, attr, data, **kwargs))


class BookSchema(BaseSchema):
    """A book, in and out. What the server decides is dump_only: sent in, it is a 422."""

    id = fields.UUID(dump_only=True)
    title = Text(1, TITLE_MAX, required=True)
    author = Text(1, AUTHOR_MAX, required=True)
    publisher = Text(1, PUBLISHER_MAX, allow_none=True)
    published_date = PartialDate(allow_none=True)
    page_count = fields.Integer(
        strict=True,
        allow_none=True,
        validate=Range(1, PAGE_COUNT_MAX, error="Must be from {min} to {max}."),
        error_messages={"invalid": "Must be a whole number."},
    )
    language = Text(1, LANGUAGE_MAX, allow_none=True)
    isbn = ISBNField(allow_none=True)
    user_uid = fields.UUID(dump_only=True)
    created_at = Timestamp(dump_only=True)
    updated_at = Timestamp(dump_only=True)
