"""Messages about accounts and sessions: their form, never the database."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from marshmallow import fields
from marshmallow.validate import Email, OneOf, Range

from books_api.auth.models import (
    EMAIL_MAX,
    NAME_MAX,
    SESSION_NAME_MAX,
    USERNAME_MAX,
    USERNAME_MIN,
    Role,
)
from books_api.auth.passwords import PASSWORD_MAX, PASSWORD_MIN
from books_api.web.fields import (
    NOT_A_BOOLEAN,
    OUT_OF_RANGE,
    STORABLE,
    BaseSchema,
    PageQuery,
    ResponseSchema,
    Text,
    Timestamp,
    WholeNumber,
    choice,
    sort_parameter,
)
from books_api.web.problems import Message

RESET_TOKEN_MAX = 500
PASSWORD = {
    "format": "password",
    "pattern": STORABLE,
    "examples": ["correct horse battery staple"],
}


_password = partial(
    Text, most=PASSWORD_MAX, normalize=True, trim=False, load_only=True, metadata=PASSWORD
)
new_password = partial(_password, PASSWORD_MIN)
old_password = partial(_password, 1)


def username(**kwargs: Any) -> Text:
    metadata = {"examples": ["ada"]}
    return Text(USERNAME_MIN, USERNAME_MAX, normalize=True, metadata=metadata, **kwargs)


def email(**kwargs: Any) -> Text:
    return Text(
        3,
        EMAIL_MAX,
        normalize=True,
        trim=False,
        validate=Email(error=Message("not-an-email", "Must be an email address.")),
        metadata={"format": "email", "examples": ["ada@example.com"]},
        **kwargs,
    )


class StrictBoolean(fields.Boolean):
    """`true` or `false`, and not the 1 that Python takes for true."""

    default_error_messages = {"invalid": NOT_A_BOOLEAN}

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class UserSchema(ResponseSchema):
    """An account. Its password and the hash of it never leave the server."""

    id = fields.UUID()
    username = fields.String()
    email = fields.String(metadata={"format": "email"})
    first_name = fields.String()
    last_name = fields.String()
    role = fields.String(validate=OneOf(list(Role)))
    is_verified = fields.Boolean()
    is_active = fields.Boolean()
    created_at = Timestamp()
    updated_at = Timestamp()


class SignupSchema(BaseSchema):
    username = username(required=True)
    email = email(required=True)
    password = new_password(required=True)
    first_name = Text(0, NAME_MAX, load_default="", metadata={"examples": ["Ada"]})
    last_name = Text(0, NAME_MAX, load_default="", metadata={"examples": ["Lovelace"]})


class LoginSchema(BaseSchema):
    email = Text(
        1,
        EMAIL_MAX,
        normalize=True,
        trim=False,
        required=True,
        metadata={"examples": ["ada@example.com"]},
    )
    password = old_password(required=True)


class LoginUserSchema(ResponseSchema):
    uid = fields.UUID(attribute="id")
    email = fields.String(metadata={"format": "email"})
    username = fields.String()


class MessageSchema(ResponseSchema):
    message = fields.String()


class AccessTokenSchema(ResponseSchema):
    access_token = fields.String()
    token_type = fields.String(metadata={"description": "Always `Bearer`."})
    expires_in = fields.Integer(
        metadata={"description": "Seconds for which the access token is still good."}
    )


class TokenPairSchema(AccessTokenSchema):
    refresh_token = fields.String()


class LoginAnswerSchema(TokenPairSchema):
    message = fields.String()
    user = fields.Nested(LoginUserSchema)


class ProfileSchema(BaseSchema):
    """Changes to one's own account."""

    username = username()
    email = email()
    first_name = Text(0, NAME_MAX, metadata={"examples": ["Ada"]})
    last_name = Text(0, NAME_MAX, metadata={"examples": ["Lovelace"]})
    current_password = old_password()


class ConfirmationSchema(BaseSchema):
    current_password = old_password(required=True)


class PasswordChangeSchema(BaseSchema):
    current_password = old_password(required=True)
    new_password = new_password(required=True)


class PasswordResetSchema(BaseSchema):
    token = Text(1, RESET_TOKEN_MAX, required=True)
    new_password = new_password(required=True)


class UserQuery(PageQuery):
    """Which users, in which order."""

    sort = sort_parameter(
        ("created_at", "username", "email"),
        "Usernames and emails are sorted regardless of case. The default is `-created_at`.",
    )


class UserUpdateSchema(BaseSchema):
    """What an admin may change."""

    role = choice(Role)
    is_active = StrictBoolean()
    is_verified = StrictBoolean()


class SessionSchema(ResponseSchema):
    """A login, or a named token for a script."""

    id = fields.UUID()
    name = fields.String(allow_none=True)
    read_only = fields.Boolean()
    user_agent = fields.String()
    created_at = Timestamp()
    last_used_at = Timestamp(metadata={"description": "Time of the login or of its last refresh."})
    expires_at = Timestamp()
    current = fields.Boolean(
        metadata={"description": "True for the session of this request's token."}
    )


class ScriptTokenRequestSchema(BaseSchema):
    name = Text(1, SESSION_NAME_MAX, required=True, metadata={"examples": ["backup script"]})
    expires_in_days = WholeNumber(
        required=True,
        validate=Range(1, 365, error=OUT_OF_RANGE),
        metadata={"examples": [30]},
    )
    read_only = StrictBoolean(required=True, metadata={"examples": [True]})


class ScriptTokenSchema(SessionSchema, AccessTokenSchema):
    """A session with its token, which is shown once."""
