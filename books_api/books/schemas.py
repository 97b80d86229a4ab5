"""Messages about books: their form, never the database."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from unicodedata import combining, normalize

from marshmallow import ValidationError, fields
from marshmallow.validate import Range
from stdnum import isbn
from stdnum.ean import calc_check_digit

from books_api.books.models import (
    AUTHOR_MAX,
    LANGUAGE_MAX,
    MEMBERS,
    PAGE_COUNT_MAX,
    PUBLISHER_MAX,
    TITLE_MAX,
)
from books_api.web.fields import (
    OUT_OF_RANGE,
    BaseSchema,
    PageQuery,
    ResponseSchema,
    Text,
    Timestamp,
    UUIDField,
    WholeNumber,
    sort_parameter,
)
from books_api.web.problems import Message

PARTIAL_DATE = r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?"
# What the document says of it; no pattern knows which months have a day 31.
YEAR = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
PARTIAL_DATE_PATTERN = rf"^{YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$"
SORT_FIELDS = ("created_at", "updated_at", "title", "author", "published_date", "page_count")
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
ISBN = r"(?!0{10})[0-9]{9}[0-9X]|97[89][0-9]{10}"


def parse_partial_date(value: str) -> date:
    """Return the first day of YYYY, YYYY-MM or YYYY-MM-DD. Raises ValidationError."""
    if not re.fullmatch(PARTIAL_DATE, value):
        raise ValidationError(Message("not-a-date", "Must be a date: YYYY, YYYY-MM or YYYY-MM-DD."))
    year, month, day = ([int(part) for part in value.split("-")] + [1, 1])[:3]
    try:
        return date(year, month, day)
    except ValueError:
        text = "Is not a date that exists, of the years 0001 to 9999."
        raise ValidationError(Message("not-a-date", text)) from None


def parse_isbn(value: str) -> str:
    """Return the 13 digits of an ISBN-10 or ISBN-13. Raises ValidationError."""
    digits = re.sub(SEPARATORS, "", value).upper()
    if not re.fullmatch(ISBN, digits):
        raise ValidationError(Message("not-an-isbn", "Must be an ISBN of 10 or 13 digits."))
    # The form is known: of the library only the arithmetic, for an import asks thousands a second.
    first = digits[:12] if len(digits) == 13 else "978" + digits[:9]
    isbn13 = first + str(calc_check_digit(first))
    if not (isbn13 == digits or (len(digits) == 10 and isbn.is_valid(digits))):
        raise ValidationError(Message("check-digit", "The check digit of the ISBN is wrong."))
    return isbn13


class Folded(Text):
    """Text that Postgres folds, for search and sorting."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        # One of any so many characters is looked at, and nearly always that is all.
        if not MARKS.isdisjoint(text[MARKS_MAX::MARKS_MAX]) and TOO_MANY_MARKS.search(text):
            raise ValidationError(TOO_MANY)
        return text


class PartialDate(Text):
    """A date as precise as it is known, given back as it came."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {
            "pattern": PARTIAL_DATE_PATTERN,
            "examples": ["1937-09-21"],
            **kwargs.pop("metadata", {}),
        }
        super().__init__(4, 10, trim=False, metadata=metadata, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        parse_partial_date(text)
        return text


class ISBNField(Text):
    """An ISBN in any usual form; 13 digits in the answer."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {
            "pattern": ISBN_PATTERN,
            "examples": ["9780261102217"],
            **kwargs.pop("metadata", {}),
        }
        super().__init__(10, 32, trim=False, metadata=metadata, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        return parse_isbn(super()._deserialize(value, attr, data, **kwargs))


class BookInputSchema(BaseSchema):
    """A book as a client sends it."""

    title = Folded(
        1,
        TITLE_MAX,
        required=True,
        metadata={"description": "Title with subtitle.", "examples": ["The Hobbit"]},
    )
    author = Folded(
        1,
        AUTHOR_MAX,
        required=True,
        metadata={"description": "All authors, in one text.", "examples": ["J. R. R. Tolkien"]},
    )
    publisher = Folded(
        1,
        PUBLISHER_MAX,
        allow_none=True,
        metadata={"description": "Publisher.", "examples": ["George Allen & Unwin"]},
    )
    published_date = PartialDate(
        allow_none=True, metadata={"description": "Year, month or day, as far as it is known."}
    )
    page_count = WholeNumber(
        allow_none=True,
        validate=Range(1, PAGE_COUNT_MAX, error=OUT_OF_RANGE),
        metadata={"description": "Number of pages.", "examples": [310]},
    )
    language = Text(
        1,
        LANGUAGE_MAX,
        allow_none=True,
        metadata={"description": "Language, best as a code (BCP 47).", "examples": ["en"]},
    )
    isbn = ISBNField(
        allow_none=True,
        metadata={"description": "ISBN-10 or -13; the answer has 13 digits without hyphens."},
    )


class BookUpdateSchema(BookInputSchema):
    """Changes of a book. What the server decides may be sent back, and changes nothing."""

    id = UUIDField(metadata={"description": "Id of the book."})
    user_uid = UUIDField(metadata={"description": "Id of its owner."})
    version = WholeNumber(
        validate=Range(1, VERSION_MAX, error=OUT_OF_RANGE),
        metadata={"description": 'Counts the changes; the entity tag is `"version"`.'},
    )
    created_at = Timestamp(metadata={"description": "Time when it was added."})
    updated_at = Timestamp(metadata={"description": "Time of its last change."})


class BookSchema(ResponseSchema, BookUpdateSchema):
    """A book, with what the server decides."""

    class Meta(ResponseSchema.Meta):
        fields = MEMBERS


class Query(fields.String):
    """What is searched for: any string at all is legal; of a long one the beginning counts."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        return TOO_MANY_MARKS.sub(r"\1", str(value)[:Q_MAX]).replace("\0", " ")


class BookQuery(PageQuery):
    """Which books, in which order."""

    sort = sort_parameter(
        SORT_FIELDS,
        "Title and author are sorted regardless of case, accents and punctuation. The default is"
        " `-created_at`; with `q`, best first.",
    )
    q = Query(
        metadata={
            "description": "Words in title, author and publisher, regardless of case, accents and"
            " punctuation; the last may be unfinished, and typos are forgiven. Or an ISBN.",
            "examples": ["hobit"],
        },
    )
    author = Folded(
        1,
        AUTHOR_MAX,
        metadata={
            "description": "Substring of the author. One or two Latin letters match the start of a"
            " word.",
            "examples": ["Tolkien"],
        },
    )
    publisher = Folded(
        1,
        PUBLISHER_MAX,
        metadata={
            "description": "Publisher, regardless of case, accents and punctuation.",
            "examples": ["George Allen & Unwin"],
        },
    )
    language = Text(
        1,
        LANGUAGE_MAX,
        metadata={"description": "Code or name, in any spelling.", "examples": ["en"]},
    )
    isbn = ISBNField(metadata={"description": "ISBN, in any form."})
    user_uid = UUIDField(metadata={"description": "Id of the owner."})
    published_from = PartialDate(metadata={"description": "Published on its first day or later."})
    published_to = PartialDate(metadata={"description": "Published on its first day or earlier."})
    updated_from = Timestamp(metadata={"description": "Changed at this moment or later."})
    updated_to = Timestamp(metadata={"description": "Changed at this moment or earlier."})


class BookOfUserQuery(BookQuery):
    """Which books of a user, in which order."""

    class Meta:
        exclude = ("user_uid",)
