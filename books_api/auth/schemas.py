"""Messages about accounts: their form, never the database."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from marshmallow import fields
from marshmallow.validate import Email

from books_api.auth.models import (
    EMAIL_MAX,
    NAME_MAX,
    USERNAME_MAX,
    USERNAME_MIN,
    Role,
)
from books_api.auth.passwords import PASSWORD_MAX, PASSWORD_MIN
from books_api.web.fields import (
    NOT_A_BOOLEAN,
    STORABLE,
    BaseSchema,
    PageQuery,
    ResponseSchema,
    Text,
    Timestamp,
    choice,
    sort_parameter,
)
from books_api.web.problems import Message

RESET_TOKEN_MAX = 500
RESET = {"description": "Reset token, from the operator.", "examples": ["3q2-7w.Zm9vYmFy"]}


def _password(least: int, description: str, **kwargs: Any) -> Text:
    metadata = {
        "format": "password",
        "pattern": STORABLE,
        "examples": ["correct horse battery staple"],
        "description": description,
    }
    return Text(least, PASSWORD_MAX, normalize=True, trim=False, metadata=metadata, **kwargs)


new_password = partial(_password, PASSWORD_MIN, "A new password, not a common one.")
old_password = partial(_password, 1, "The account's current password.")


def username(**kwargs: Any) -> Text:
    metadata = {"description": "Unique regardless of case.", "examples": ["ada"]}
    return Text(USERNAME_MIN, USERNAME_MAX, normalize=True, metadata=metadata, **kwargs)


def email(**kwargs: Any) -> Text:
    return Text(
        3,
        EMAIL_MAX,
        normalize=True,
        trim=False,
        validate=Email(error=Message("not-an-email", "Must be an email address.")),
        metadata={
            "format": "email",
            "description": "Unique regardless of case.",
            "examples": ["ada@example.com"],
        },
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


def first_name(**kwargs: Any) -> Text:
    metadata = {"description": "Given name; may be empty.", "examples": ["Ada"]}
    return Text(0, NAME_MAX, metadata=metadata, **kwargs)


def last_name(**kwargs: Any) -> Text:
    metadata = {"description": "Family name; may be empty.", "examples": ["Lovelace"]}
    return Text(0, NAME_MAX, metadata=metadata, **kwargs)


def role() -> fields.String:
    return choice(Role, metadata={"description": "An admin may change every book and every user."})


VERIFIED = {"description": "Set by an admin; false again when the email changes."}
ACTIVE = {"description": "False for an account that cannot log in."}


class UserSchema(ResponseSchema):
    """An account. Its password and the hash of it never leave the server."""

    id = fields.UUID(metadata={"description": "Id of the user."})
    username = username()
    email = email()
    first_name = first_name()
    last_name = last_name()
    role = role()
    is_verified = fields.Boolean(metadata=VERIFIED)
    is_active = fields.Boolean(metadata=ACTIVE)
    created_at = Timestamp(metadata={"description": "Time of the sign-up."})
    updated_at = Timestamp(metadata={"description": "Time of the last change."})


class SignupSchema(BaseSchema):
    """A new account."""

    username = username(required=True)
    email = email(required=True)
    password = new_password(required=True)
    first_name = first_name(load_default=str)  # empty; no default that makes it required in types
    last_name = last_name(load_default=str)


class LoginSchema(BaseSchema):
    """Whose session is opened."""

    email = Text(
        1,
        EMAIL_MAX,
        normalize=True,
        trim=False,
        required=True,
        metadata={"description": "Email of the account.", "examples": ["ada@example.com"]},
    )
    password = old_password(required=True)


class ProfileSchema(BaseSchema):
    """Changes to one's own account."""

    username = username()
    email = email()
    first_name = first_name()
    last_name = last_name()
    current_password = old_password()


class ConfirmationSchema(BaseSchema):
    """That it is you."""

    current_password = old_password(required=True)


class PasswordChangeSchema(BaseSchema):
    """The current password and a new one."""

    current_password = old_password(required=True)
    new_password = new_password(required=True)


class PasswordResetSchema(BaseSchema):
    """A new password for who has lost the old one."""

    token = Text(1, RESET_TOKEN_MAX, required=True, metadata=RESET)
    new_password = new_password(required=True)


class UserQuery(PageQuery):
    """Which users, in which order."""

    sort = sort_parameter(
        ("created_at", "username", "email"),
        "Usernames and emails are sorted regardless of case. The default is `-created_at`.",
    )


class UserUpdateSchema(BaseSchema):
    """What an admin may change."""

    role = role()
    is_active = StrictBoolean(metadata=ACTIVE)
    is_verified = StrictBoolean(metadata=VERIFIED)
