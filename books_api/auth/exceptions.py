"""What accounts and sessions refuse. The text is what the client reads."""

import logging
from collections.abc import Mapping
from typing import ClassVar

from books_api.observability.logs import Event
from books_api.web.problems import (
    RETRY_AFTER,
    InvalidInput,
    Message,
    NotFound,
    Problem,
    Unavailable,
)

CHALLENGE = 'Bearer realm="books-api"'


class EmailTaken(Problem):
    """Another account has this email; upper and lower case do not tell emails apart."""

    name, status, title = "email-taken", 409, "Email taken"
    remedy = "Choose another email, or log in to the account that has this one."
    detail = "Another account has this email."
    field = "email"


class UsernameTaken(Problem):
    """Another account has this username; upper and lower case do not tell usernames apart."""

    name, status, title = "username-taken", 409, "Username taken"
    remedy = "Choose another username."
    detail = "Another account has this username."
    field = "username"


class WrongCredentials(Problem):
    """The email is unknown, the password is wrong, or the account is inactive."""

    name, status, title = "wrong-credentials", 401, "Wrong credentials"
    remedy = "Check email and password. The operator can issue a reset link."
    detail = "The email or the password is wrong."
    headers = {"WWW-Authenticate": CHALLENGE}


class WrongPassword(Problem):
    """The current password that confirms this change is wrong."""

    name, status, title = "wrong-password", 422, "Wrong password"
    remedy = "Send the account's current password."
    detail = "The current password is wrong."
    field = "current_password"


class WeakPassword(Problem):
    """The new password is easily guessed; `field` is where it was sent."""

    name, status, title = "weak-password", 422, "Weak password"
    remedy = "Choose a longer or less common password."

    def __init__(self, detail: str, field: str = "password") -> None:
        super().__init__(detail)
        self.field = field


class PasswordRequired(InvalidInput):
    def __init__(self) -> None:
        message = Message("required", "Is required to change the email.")
        super().__init__({"current_password": [message]}, "json")


class SignupDisabled(Problem):
    """Only admins make accounts here."""

    name, status, title = "signup-closed", 403, "Sign-up closed"
    remedy = "Ask the operator for an account."
    detail = "Sign-up is closed here; ask the operator for an account."


class Refused(Problem):
    """A bearer token does not let the request in; `error` is RFC 6750's code, 3.1."""

    error = ""
    event: ClassVar[Event | None] = "token_refused"

    @property
    def headers(self) -> Mapping[str, str]:
        described = f', error="{self.error}", error_description="{self}"' if self.error else ""
        return {"WWW-Authenticate": CHALLENGE + described}


class TokenRefused(Refused):
    """The bearer token is malformed, forged, or not of the type that is expected here."""

    name, status, title = "token-invalid", 401, "Token not valid"
    remedy = "Send the access token as it was issued; log in again for a new one."
    detail = "The token is not valid."
    error = "invalid_token"


class TokenMissing(TokenRefused):
    """The request carries no bearer token."""

    name, status, title = "token-missing", 401, "Token missing"
    remedy = "Log in, and send the access token: Authorization: Bearer <token>."
    detail = "Send the access token: Authorization: Bearer <token>."
    error = ""  # RFC 6750, 3.1: no code without credentials
    event = None


class TokenExpired(TokenRefused):
    """The token's time is over."""

    name, status, title = "token-expired", 401, "Token expired"
    remedy = "Exchange the refresh token for a new pair, or log in again."
    detail = f"The token has expired. {remedy}"
    event_level = logging.INFO  # of every client, several times an hour


class TokenRevoked(TokenRefused):
    """The token's session has ended: by a logout, a new password, or an admin."""

    name, status, title = "token-revoked", 401, "Token revoked"
    remedy = "Log in again."
    detail = "The token has been revoked."


class TokenReadOnly(Refused):
    """A read-only token was sent to change something."""

    name, status, title = "token-read-only", 403, "Read-only token"
    remedy = "Use a token that may write, or log in."
    detail = "The token is read-only."
    error = "insufficient_scope"


class LoginRequired(Refused):
    """A script's token was sent where only a login may act."""

    name, status, title = "login-required", 403, "Login required"
    remedy = "Log in, and send the login's access token."
    detail = "A script's token may not do this; log in."
    error = "insufficient_scope"


class RoleRequired(Problem):
    """The user does not have the role that this operation needs."""

    name, status, title = "role-required", 403, "Role required"
    remedy = "Ask an admin."
    event = "access_denied"

    def __init__(self, role: str) -> None:
        super().__init__(f"Only for users with the role {role}.")


class ResetTokenRefused(Problem):
    """The password reset token is wrong, expired, or used."""

    name, status, title = "reset-token-invalid", 422, "Reset token not valid"
    remedy = "Ask the operator for a new one."
    detail = "The reset token is not valid: it is wrong, expired or used."
    field = "token"


class UserNotFound(NotFound):
    detail = "There is no such user."


class SessionNotFound(NotFound):
    detail = "You have no such session."


class LastAdmin(Problem):
    """No active admin would be left."""

    name, status, title = "last-admin", 409, "Last admin"
    remedy = "Make another user an admin first."
    detail = "The last active admin must stay an active admin."


class TooManyScriptTokens(Problem):
    """You have as many live tokens for scripts as a user may have."""

    name, status, title = "too-many-tokens", 409, "Too many tokens"
    remedy = "End a session of a script that you no longer need: DELETE /auth/sessions/{id}."

    def __init__(self, most: int) -> None:
        super().__init__(f"You have {most} tokens for scripts, the most allowed; end one first.")


class TooBusy(Unavailable):
    """More passwords wait to be checked than this process checks at once."""

    detail = "Too many logins at once; try again in a moment."


class InvalidKey(InvalidInput):
    def __init__(self, detail: str) -> None:
        super().__init__({"Idempotency-Key": [Message("not-a-key", detail)]}, "header")


class KeyReused(InvalidInput):
    """The Idempotency-Key came before, with another request."""

    name, status, title = "key-reused", 422, "Idempotency-Key reused"
    remedy = "Send a new key with each new request."

    def __init__(self) -> None:
        message = Message(self.name, "Was used before, with another request.")
        super().__init__({"Idempotency-Key": [message]}, "header")


class StillRunning(Problem):
    """An earlier request that this one must wait for is still running."""

    name, status, title = "still-running", 409, "Still running"
    remedy = "Send the request again after as many seconds as the Retry-After header says."
    headers = RETRY_AFTER


class KeyInUse(StillRunning):
    detail = "The first request with this Idempotency-Key is still running."
