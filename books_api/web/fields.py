"""Marshmallow fields and the base schema that both blueprints share."""

import re
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, missing
from marshmallow.validate import OneOf, Range

from books_api.web.pagination import LIMIT_DEFAULT, LIMIT_MAX
from books_api.web.problems import NOT_AN_OBJECT, Message

SURROGATE = re.compile("[\ud800-\udfff]")
# What is trimmed: ECMA-262's \s, and what Python calls a space besides. The pattern says it so.
SPACES = "".join(filter(str.isspace, map(chr, range(0x10000)))) + "\ufeff"
SPACE = r"[\s\u001c-\u001f\u0085]"
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)"
CURSOR_MAX = 6_000  # that of a search holds what is searched for
STORABLE = r"^[^\u0000]*$"
NOT_SPACE = r"[^\s\u001c-\u001f\u0085\u0000]"


def check_storable(value: str) -> None:
    """Raise ValidationError for text that Postgres cannot hold."""
    if "\0" in value:
        raise ValidationError(Message("not-storable", "Must not contain a NUL character."))
    if not value.isascii() and SURROGATE.search(value):
        raise ValidationError(Message("not-storable", "Must not contain a lone surrogate."))


MESSAGES = {
    "required": Message("required", "Is required."),
    "null": Message("null", "Must not be null."),
    "invalid_uuid": Message("not-a-uuid", "Must be a UUID."),
}
NOT_A_BOOLEAN = Message("not-a-boolean", "Must be true or false.")
NOT_A_WHOLE_NUMBER = Message("not-a-whole-number", "Must be a whole number.")
OUT_OF_RANGE = Message("out-of-range", "Must be from {min} to {max}.")
NOT_A_CHOICE = Message("not-a-choice", "Must be one of: {choices}.")


class BaseSchema(Schema):
    """Refuses unknown fields, and says what is wrong in words a person understands."""

    class Meta:
        unknown = RAISE

    error_messages = {
        "unknown": Message("unknown-field", "Is not a field of this request."),
        "type": NOT_AN_OBJECT,
    }

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.error_messages |= MESSAGES

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Load as the base does, which is asked for the errors only: it takes twice as long."""
        if isinstance(data, dict) and not self.partial:
            given = data.copy()
            with suppress(ValidationError):
                loaded = {
                    name: field.deserialize(given.pop(field.data_key or name, missing))
                    for name, field in self.load_fields.items()
                }
                if not given:
                    return {name: value for name, value in loaded.items() if value is not missing}
        return super().load(data, **kwargs)


class Text(fields.String):
    """Trimmed text of `least` to `most` characters that Postgres can hold, in NFC on demand."""

    default_error_messages = {"invalid": Message("not-a-string", "Must be a string.")}

    def __init__(
        self, least: int, most: int, *, normalize: bool = False, trim: bool = True, **kwargs: Any
    ) -> None:
        metadata: dict[str, Any] = {"maxLength": most, **kwargs.pop("metadata", {})}
        if least:
            metadata["minLength"] = least
        if "format" not in metadata:
            pattern = _trimmed_pattern(least) if least and trim else STORABLE
            metadata.setdefault("pattern", pattern)
        super().__init__(metadata=metadata, **kwargs)
        self.least, self.most = least, most
        self.normalize, self.trim = normalize, trim
        self._too_long = Message("too-long", f"Must have at most {most} characters.")

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        # Before anything else looks at it. NFC makes at most one character of four.
        if len(value) > self.most * (4 if self.normalize else 1):
            raise ValidationError(self._too_long)
        check_storable(value)
        text: str = unicodedata.normalize("NFC", value) if self.normalize else value
        # Before it is trimmed: the document's maxLength knows of no trimming.
        if len(text) > self.most:
            raise ValidationError(self._too_long)
        if self.trim:
            text = text.strip(SPACES)
        if len(text) < self.least:
            raise ValidationError(
                Message("empty", "Must not be empty.")
                if self.least == 1
                else Message("too-short", f"Must have at least {self.least} characters.")
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

    default_error_messages = {"invalid": NOT_A_WHOLE_NUMBER}

    def _validated(self, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class QueryInteger(fields.Integer):
    """A whole number in a query string: ASCII digits, and not all that int() reads."""

    default_error_messages = {"invalid": NOT_A_WHOLE_NUMBER}

    def _validated(self, value: Any) -> int:
        if not re.fullmatch("-?[0-9]{1,18}", str(value)):
            raise self.make_error("invalid")
        return super()._validated(value)


query_boolean = partial(
    fields.Boolean, truthy={"true"}, falsy={"false"}, error_messages={"invalid": NOT_A_BOOLEAN}
)


class Timestamp(fields.AwareDateTime):
    """A moment as RFC 3339: in any zone of a client, in UTC with `Z` from us."""

    default_error_messages = {
        "invalid": Message("not-a-timestamp", "Must be a moment such as 2026-11-28T09:30:00Z.")
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        if not (isinstance(value, str) and re.fullmatch(RFC3339, value, re.ASCII | re.IGNORECASE)):
            raise self.make_error("invalid")
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):  # no such day, or none in UTC
            raise self.make_error("invalid") from None

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else format_timestamp(value)


def within(least: int, most: int) -> Range:
    """Return the validator of a number from `least` to `most`."""
    return Range(least, most, error=OUT_OF_RANGE)


def format_timestamp(value: datetime) -> str:
    """Return RFC 3339 in UTC, to the microsecond."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class BaseQuery(BaseSchema):
    error_messages = {
        "unknown": Message("unknown-parameter", "Is not a parameter of this request.")
    }


def choice(choices: Iterable[str], **kwargs: Any) -> fields.String:
    """Return the field of a string that is one of the choices."""
    one_of = OneOf(list(choices), error=NOT_A_CHOICE)
    return fields.String(validate=one_of, error_messages=Text.default_error_messages, **kwargs)


class PageQuery(BaseQuery):
    limit = QueryInteger(load_default=LIMIT_DEFAULT, validate=within(1, LIMIT_MAX))
    cursor = Text(1, CURSOR_MAX, trim=False)
    count = choice(
        ("false", "true", "exact"),
        load_default="false",
        metadata={"x-enum-varnames": ["FALSE", "TRUE", "EXACT"]},
    )


def sort_parameter(*names: str) -> fields.String:
    """Return the field of what a list may be sorted by: each name, and with a minus."""
    in_code = [name.upper() + suffix for name in names for suffix in ("", "_DESC")]
    return choice(
        [sign + name for name in names for sign in ("", "-")], metadata={"x-enum-varnames": in_code}
    )


class ResponseSchema(Schema):
    """Describes an answer, which has all of its members and may get more; it loads nothing."""

    class Meta:
        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.required = True
