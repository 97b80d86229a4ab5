"""Messages about books: their form. web/docs/members.toml describes the members."""

import re
from datetime import date
from functools import lru_cache, partial
from operator import mul
from typing import Any
from unicodedata import combining, normalize

from marshmallow import ValidationError, fields
from marshmallow.validate import Length
from stdnum.ean import calc_check_digit

from books_api.books import models
from books_api.web.fields import (
    CURSOR_MAX,
    BaseQuery,
    BaseSchema,
    PageQuery,
    QueryInteger,
    ResponseSchema,
    Text,
    Timestamp,
    WholeNumber,
    sort_parameter,
    within,
)
from books_api.web.problems import Message

PARTIAL_DATE = r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?"
# What the document says of it; no pattern knows which months have a day 31.
YEAR = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
PARTIAL_DATE_PATTERN = rf"^{YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$"
SORT_FIELDS = ("created_at", "updated_at", "title", "author", "published_date", "page_count")
CHANGES_DEFAULT, CHANGES_MAX = 100, 1_000  # in an answer
VERSION_MAX = 2**31 - 1  # as Postgres has it
Q_MAX = 1_000  # no word so far behind is searched for
# More combining marks in a row are in no writing, and Postgres takes quadratic time to bring them
# in order when it folds (UAX #15, 13: Stream-Safe Text Format).
MARKS_MAX = 30
MARKS = frozenset(
    mark for mark in map(chr, range(0x300, 0x20000)) if combining(normalize("NFKD", mark)[0])
)
TOO_MANY_MARKS = re.compile(f"([{''.join(MARKS)}]{{{MARKS_MAX}}})[{''.join(MARKS)}]+")
TOO_MANY = Message("too-many-marks", f"Must have at most {MARKS_MAX} combining marks in a row.")
SEPARATORS = r"[\s\u001c-\u001f\u0085\u2010-\u2015\u2212-]*"
_DIGIT = f"[0-9]{SEPARATORS}"
ISBN_PATTERN = f"^{SEPARATORS}({_DIGIT}){{9}}(({_DIGIT}){{3}})?[0-9Xx]{SEPARATORS}$"
ISBN = re.compile(r"(?!0{10})[0-9]{9}[0-9X]|97[89][0-9]{10}")


def parse_partial_date(value: str) -> date:
    """Return the first day of YYYY, YYYY-MM or YYYY-MM-DD. Raises ValidationError."""
    if not re.fullmatch(PARTIAL_DATE, value):
        raise ValidationError(Message("not-a-date", "Must be a date: YYYY, YYYY-MM or YYYY-MM-DD."))
    try:
        return date.fromisoformat((value + "-01-01")[:10])
    except ValueError:
        text = "Is not a date that exists, of the years 0001 to 9999."
        raise ValidationError(Message("not-a-date", text)) from None


def _weighted(isbn10: str) -> int:
    return sum(map(mul, range(10, 0, -1), map("0123456789X".index, isbn10)))


_check_digit = lru_cache(maxsize=1_000)(calc_check_digit)


def parse_isbn(value: str) -> str:
    """Return the 13 digits of an ISBN-10 or ISBN-13. Raises ValidationError."""
    digits = (value if value.isalnum() else re.sub(SEPARATORS, "", value)).upper()
    if not ISBN.fullmatch(digits):
        raise ValidationError(Message("not-an-isbn", "Must be an ISBN of 10 or 13 digits."))
    # The form is known. An import asks thousands a second, of a book often in both forms.
    first = digits[:12] if len(digits) == 13 else "978" + digits[:9]
    isbn13 = first + _check_digit(first)
    if digits != isbn13 and (len(digits) == 13 or _weighted(digits) % 11):
        raise ValidationError(Message("check-digit", "The check digit of the ISBN is wrong."))
    return isbn13


def check_marks(text: str) -> None:
    """Raise ValidationError for text that Postgres takes too long to fold."""
    # One of any so many characters is looked at, and nearly always that is all.
    if not MARKS.isdisjoint(text[MARKS_MAX::MARKS_MAX]) and TOO_MANY_MARKS.search(text):
        raise ValidationError(TOO_MANY)


folded = partial(Text, validate=check_marks)
partial_date = partial(
    Text, 4, 10, trim=False, validate=parse_partial_date, metadata={"pattern": PARTIAL_DATE_PATTERN}
)


class ISBNField(Text):
    """An ISBN in any usual form; 13 digits in the answer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(10, 32, trim=False, metadata={"pattern": ISBN_PATTERN}, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        return parse_isbn(super()._deserialize(value, attr, data, **kwargs))


class BookInputSchema(BaseSchema):
    """A book as a client sends it."""

    title = folded(1, models.TITLE_MAX, required=True)
    author = folded(1, models.AUTHOR_MAX, required=True)
    publisher = folded(1, models.PUBLISHER_MAX, allow_none=True)
    published_date = partial_date(allow_none=True)
    page_count = WholeNumber(allow_none=True, validate=within(1, models.PAGE_COUNT_MAX))
    language = Text(1, models.LANGUAGE_MAX, allow_none=True)
    isbn = ISBNField(allow_none=True)


class BookUpdateSchema(BookInputSchema):
    """Changes of a book. What the server decides may be sent back, and changes nothing."""

    id = fields.UUID()
    user_uid = fields.UUID()
    version = WholeNumber(validate=within(1, VERSION_MAX))
    created_at = Timestamp()
    updated_at = Timestamp()


class BookSchema(ResponseSchema, BookUpdateSchema):
    """A book, with what the server decides."""

    class Meta(ResponseSchema.Meta):
        fields = models.MEMBERS


class Query(fields.String):
    """What is searched for: any string at all is legal; of a long one the beginning counts."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        return TOO_MANY_MARKS.sub(r"\1", str(value)[:Q_MAX]).replace("\0", " ")


class BookQuery(PageQuery):
    sort = sort_parameter(*SORT_FIELDS)
    q = Query()
    author = folded(1, models.AUTHOR_MAX)
    publisher = folded(1, models.PUBLISHER_MAX)
    language = Text(1, models.LANGUAGE_MAX)
    isbn = ISBNField()
    user_uid = fields.UUID()
    published_from = partial_date()
    published_to = partial_date()
    updated_from = Timestamp()
    updated_to = Timestamp()


class BookOfUserQuery(BookQuery):
    class Meta:
        exclude = ("user_uid",)


class ChangesQuery(BaseQuery):
    limit = QueryInteger(load_default=CHANGES_DEFAULT, validate=within(1, CHANGES_MAX))
    cursor = Text(1, CURSOR_MAX, trim=False)
    user_uid = fields.UUID()


class DeletedBookSchema(ResponseSchema):
    id = fields.UUID()
    deleted_at = Timestamp()


class ChangesSchema(ResponseSchema):
    books = fields.List(fields.Nested(BookSchema), validate=Length(max=CHANGES_MAX))
    deleted = fields.List(fields.Nested(DeletedBookSchema), validate=Length(max=CHANGES_MAX))
    cursor = fields.String()
    more = fields.Boolean()
