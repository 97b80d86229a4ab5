"""Messages about sessions and their tokens."""

from marshmallow import fields
from marshmallow.validate import Range

from books_api.auth.models import SESSION_NAME_MAX
from books_api.auth.schemas import StrictBoolean, email, username
from books_api.web.fields import (
    OUT_OF_RANGE,
    BaseSchema,
    ResponseSchema,
    Text,
    Timestamp,
    WholeNumber,
)

TOKEN = ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTk4In0.8gD5rUOVmVxVtNWkLk2nZw"]
ACCESS = {"description": "Bearer token for all other requests.", "examples": TOKEN}
REFRESH = {"description": "Bearer token for `/auth/refresh-token`, once.", "examples": TOKEN}


class LoginUserSchema(ResponseSchema):
    """Who has logged in."""

    uid = fields.UUID(attribute="id", metadata={"description": "Id of the user."})
    email = email()
    username = username()


class MessageSchema(ResponseSchema):
    """That it is done."""

    message = fields.String(metadata={"description": "For people.", "examples": ["Logged out."]})


class AccessTokenSchema(ResponseSchema):
    """Another access token of the session."""

    access_token = fields.String(metadata=ACCESS)
    token_type = fields.String(metadata={"description": "Always `Bearer`.", "examples": ["Bearer"]})
    expires_in = fields.Integer(
        metadata={
            "description": "Seconds for which the access token is still good.",
            "examples": [900],
        }
    )


class TokenPairSchema(AccessTokenSchema):
    """The tokens of the session from now on."""

    refresh_token = fields.String(metadata=REFRESH)


class LoginAnswerSchema(TokenPairSchema):
    """The tokens of a new session, and whose it is."""

    message = fields.String(metadata={"description": "For people.", "examples": ["Logged in."]})
    user = fields.Nested(LoginUserSchema, metadata={"description": "Who has logged in."})


NAMES = ["backup script"]
READ_ONLY = {"description": "True for a token that can change nothing."}


class SessionSchema(ResponseSchema):
    """A login, or a named token for a script."""

    id = fields.UUID(metadata={"description": "Id of the session, to end it by."})
    name = fields.String(
        allow_none=True,
        metadata={"description": "Name of a script's token; null for a login.", "examples": NAMES},
    )
    read_only = fields.Boolean(metadata=READ_ONLY)
    user_agent = fields.String(
        metadata={"description": "What the client called itself.", "examples": ["curl/8.14.1"]}
    )
    created_at = Timestamp(metadata={"description": "Time of the login."})
    last_used_at = Timestamp(metadata={"description": "Time of the login or of its last refresh."})
    expires_at = Timestamp(metadata={"description": "Time when the session ends by itself."})
    current = fields.Boolean(
        metadata={"description": "True for the session of this request's token."}
    )


class ScriptTokenRequestSchema(BaseSchema):
    """What a token for a script may do, and for how long."""

    name = Text(
        1,
        SESSION_NAME_MAX,
        required=True,
        metadata={"description": "What you will know it by.", "examples": NAMES},
    )
    expires_in_days = WholeNumber(
        required=True,
        validate=Range(1, 365, error=OUT_OF_RANGE),
        metadata={"description": "Days until the token expires.", "examples": [30]},
    )
    read_only = StrictBoolean(required=True, metadata=READ_ONLY)


class ScriptTokenSchema(SessionSchema, AccessTokenSchema):
    """The session of a script, and its token, which is shown once."""
