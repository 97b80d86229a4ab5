"""Messages about accounts and sessions: their form. web/docs/members.toml describes the members."""

from functools import partial
from typing import Any

from marshmallow import fields
from marshmallow.validate import Email

from books_api.auth import models
from books_api.auth.models import Role
from books_api.auth.passwords import PASSWORD_MAX, PASSWORD_MIN
from books_api.web.fields import (
    NOT_A_BOOLEAN,
    STORABLE,
    BaseSchema,
    PageQuery,
    ResponseSchema,
    Text,
    Timestamp,
    WholeNumber,
    choice,
    sort_parameter,
    within,
)
from books_api.web.problems import Message

RESET_TOKEN_MAX = 500
NOT_AN_EMAIL = Message("not-an-email", "Must be an email address.")

username = partial(Text, models.USERNAME_MIN, models.USERNAME_MAX, normalize=True)
any_email = partial(Text, most=models.EMAIL_MAX, normalize=True, trim=False)
email = partial(
    any_email, least=3, validate=Email(error=NOT_AN_EMAIL), metadata={"format": "email"}
)
password = partial(
    Text, normalize=True, trim=False, metadata={"format": "password", "pattern": STORABLE}
)
new_password = partial(password, PASSWORD_MIN, PASSWORD_MAX)
old_password = partial(password, 1, PASSWORD_MAX)
person_name = partial(Text, 0, models.NAME_MAX)
role = partial(choice, Role)


class StrictBoolean(fields.Boolean):
    """`true` or `false`, and not the 1 that Python takes for true."""

    default_error_messages = {"invalid": NOT_A_BOOLEAN}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class UserSchema(ResponseSchema):
    """An account. Its password and the hash of it never leave the server."""

    id = fields.UUID()
    username = username()
    email = email()
    first_name = person_name()
    last_name = person_name()
    role = role()
    is_verified = fields.Boolean()
    is_active = fields.Boolean()
    created_at = Timestamp()
    updated_at = Timestamp()


class SignupSchema(BaseSchema):
    username = username(required=True)
    email = email(required=True)
    password = new_password(required=True)
    # Empty; no default that makes it required in types.
    first_name = person_name(load_default=str)
    last_name = person_name(load_default=str)


class LoginSchema(BaseSchema):
    email = any_email(least=1, required=True)
    password = old_password(required=True)


class ConfirmationSchema(BaseSchema):
    current_password = old_password(required=True)


class ProfileSchema(ConfirmationSchema, SignupSchema):
    """Changes to one's own account; to be loaded as `partial`."""

    class Meta(BaseSchema.Meta):
        exclude = ("password",)


class PasswordChangeSchema(ConfirmationSchema):
    new_password = new_password(required=True)


class PasswordResetSchema(BaseSchema):
    token = Text(1, RESET_TOKEN_MAX, required=True)
    new_password = new_password(required=True)


class UserQuery(PageQuery):
    sort = sort_parameter("created_at", "username", "email")


class UserUpdateSchema(BaseSchema):
    role = role()
    is_active = StrictBoolean()
    is_verified = StrictBoolean()


class LoginUserSchema(UserSchema):
    uid = fields.UUID(attribute="id")

    class Meta(ResponseSchema.Meta):
        fields = ("uid", "email", "username")


class MessageSchema(ResponseSchema):
    message = fields.String()


class AccessTokenSchema(ResponseSchema):
    access_token = fields.String()
    token_type = fields.String()
    expires_in = fields.Integer()


class TokenPairSchema(AccessTokenSchema):
    refresh_token = fields.String()


class LoginAnswerSchema(TokenPairSchema, MessageSchema):
    user = fields.Nested(LoginUserSchema)


class SessionSchema(ResponseSchema):
    """A login, or a named token for a script."""

    id = fields.UUID()
    name = fields.String(allow_none=True)
    read_only = fields.Boolean()
    user_agent = fields.String()
    created_at = Timestamp()
    last_used_at = Timestamp()
    expires_at = Timestamp()
    current = fields.Boolean()


class ScriptTokenRequestSchema(BaseSchema):
    name = Text(1, models.SESSION_NAME_MAX, required=True)
    expires_in_days = WholeNumber(required=True, validate=within(1, 365))
    read_only = StrictBoolean(required=True)


class ScriptTokenSchema(SessionSchema, AccessTokenSchema):
    """The session of a script, and its token, which is shown once."""
