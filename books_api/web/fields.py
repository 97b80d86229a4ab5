"""Marshmallow fields and the base schema that both blueprints share."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields
from marshmallow.validate import OneOf, Range

from books_api.web.pagination import LIMIT_DEFAULT, LIMIT_MAX

SURROGATE = re.compile("[\ud800-\udfff]")
# What is trimmed: ECMA-262's \s, and what Python calls a space besides. The pattern says it so.
SPACES = "".join(filter(str.isspace, map(chr, range(0x10000)))) + "\ufeff"
SPACE = r"[\s\u001c-\u001f\u0085]"
STORABLE = r"^[^\u0000]*$"
NOT_SPACE = r"[^\s\u001c-\u001f\u0085\u0000]"


def check_storable(value: str) -> None:
    """Raise ValidationError for text that Postgres cannot hold."""
    if "\0" in value:
        raise ValidationError("Must not contain a NUL character.")
    if SURROGATE.search(value):
        raise ValidationError("Must not contain a lone surrogate.")


class BaseSchema(Schema):
    """Refuses unknown fields, and says what is wrong in words a person understands."""

    class Meta:
        unknown = RAISE

    error_messages = {
        "unknown": "Is not a field of this request.",
        "type": "Must be a JSON object.",
    }


class Text(fields.String):
    """Trimmed text of `least` to `most` characters that Postgres can hold.

    `normalize` brings it to NFC first, so that what looks the same is the same.
    """

    default_error_messages = {
        "invalid": "Must be a string.",
        "required": "Is required.",
        "null": "Must not be null.",
    }

    def __init__(
        self, least: int, most: int, *, normalize: bool = False, trim: bool = True, **kwargs: Any
    ) -> None:
        metadata: dict[str, Any] = {"maxLength": most, **kwargs.pop("metadata", {})}
        if least:
            metadata["minLength"] = least
        if "format" not in metadata:
            metadata["pattern"] = _trimmed_pattern(least) if least and trim else STORABLE
        super().__init__(metadata=metadata, **kwargs)
        self.least, self.most = least, most
        self.normalize, self.trim = normalize, trim

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        # Before anything else looks at it. NFC makes at most one character of four.
        if len(value) > self.most * (4 if self.normalize else 1):
            raise ValidationError(f"Must have at most {self.most} characters.")
        check_storable(value)
        text: str = unicodedata.normalize("NFC", value) if self.normalize else value
        # Before it is trimmed: the document's maxLength knows of no trimming.
        if len(text) > self.most:
            raise ValidationError(f"Must have at most {self.most} characters.")
        if self.trim:
            text = text.strip(SPACES)
        if len(text) < self.least:
            raise ValidationError(
                "Must not be empty."
                if self.least == 1
                else f"Must have at least {self.least} characters."
            )
        return text


def _trimmed_pattern(least: int) -> str:
    """Return the pattern (ECMA-262) of text that has `least` characters when trimmed."""
    if least == 1:
        return rf"^[^\u0000]*{NOT_SPACE}[^\u0000]*$"
    middle = rf"[^\u0000]{{{least - 2},}}"
    return f"^{SPACE}*{NOT_SPACE}{middle}{NOT_SPACE}{SPACE}*$"


class WholeNumber(fields.Integer):
    """A JSON number without a fraction: 5, and 5.0 too (JSON Schema Core, 4.2.3)."""

    default_error_messages = {"invalid": "Must be a whole number."}

    def _validated(self, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class QueryInteger(fields.Integer):
    """A whole number in a query string: ASCII digits, and not all that int() reads."""

    default_error_messages = {"invalid": "Must be a whole number."}

    def _validated(self, value: Any) -> int:
        if not re.fullmatch("-?[0-9]{1,18}", str(value)):
            raise self.make_error("invalid")
        return super()._validated(value)


class QueryBoolean(fields.Boolean):
    """`true` or `false` in a query string."""

    default_error_messages = {"invalid": "Must be true or false."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(truthy={"true"}, falsy={"false"}, **kwargs)


class Timestamp(fields.AwareDateTime):
    """A moment as RFC 3339 in UTC, with `Z`."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else format_timestamp(value)


def format_timestamp(value: datetime) -> str:
    """Return RFC 3339 in UTC, to the microsecond."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class PageQuery(BaseSchema):
    """Which page of a list."""

    error_messages = {"unknown": "Is not a parameter of this request."}

    limit = QueryInteger(
        load_default=LIMIT_DEFAULT,
        validate=Range(1, LIMIT_MAX, error="Must be from {min} to {max}."),
        metadata={"description": "Maximum number of items in the page."},
    )
    cursor = Text(
        1,
        6_000,  # that of a search holds what is searched for
        trim=False,
        metadata={"description": "Start of the page, taken from `Link`; opaque."},
    )
    count = QueryBoolean(
        load_default=False,
        metadata={"description": "`true` adds `X-Total-Count`; counting many items takes longer."},
    )


def sort_parameter(names: Iterable[str], description: str) -> fields.String:
    """Return the field of what a list may be sorted by: each name, and with a minus."""
    return fields.String(
        validate=OneOf(
            [sign + name for name in names for sign in ("", "-")],
            error="Must be one of: {choices}.",
        ),
        metadata={"description": f"Prefix with `-` for descending order. {description}"},
    )


class ResponseSchema(Schema):
    """Describes an answer, which has all of its members and may get more; it loads nothing."""

    class Meta:
        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.required = True
