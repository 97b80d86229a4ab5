"""Messages about sessions and their tokens. docs/members.toml describes them."""

from marshmallow import fields

from books_api.auth.models import SESSION_NAME_MAX
from books_api.auth.schemas import StrictBoolean, UserSchema
from books_api.web.fields import BaseSchema, ResponseSchema, Text, Timestamp, WholeNumber, within


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
    name = Text(1, SESSION_NAME_MAX, required=True)
    expires_in_days = WholeNumber(required=True, validate=within(1, 365))
    read_only = StrictBoolean(required=True)


class ScriptTokenSchema(SessionSchema, AccessTokenSchema):
    """The session of a script, and its token, which is shown once."""
