"""What accounts and sessions refuse; web/docs/problems.toml has the words."""

import logging

from books_api.observability.logs import Event
from books_api.web.problems import RETRY_AFTER, InvalidInput, Message, Problem, problem

CHALLENGE = 'Bearer realm="books-api"'


class Refused(Problem):
    """A bearer token does not let the request in; `error` is RFC 6750's code, 3.1."""

    error = ""
    event: Event | None = "token_refused"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail)
        described = f', error="{self.error}", error_description="{self}"' if self.error else ""
        self.headers = {"WWW-Authenticate": CHALLENGE + described}


TokenMissing = problem("token-missing", Refused, event=None)  # RFC 6750, 3.1: without a code
TokenRefused = problem("token-invalid", Refused, error="invalid_token")
TokenRevoked = problem("token-revoked", Refused, error="invalid_token")
TokenExpired = problem(  # of every client, several times an hour
    "token-expired", Refused, error="invalid_token", event_level=logging.INFO
)
TokenReadOnly = problem("token-read-only", Refused, error="insufficient_scope")
LoginRequired = problem("login-required", Refused, error="insufficient_scope")
RoleRequired = problem("role-required", event="access_denied")

EmailTaken = problem("email-taken", field="email")
UsernameTaken = problem("username-taken", field="username")
SignupClosed = problem("signup-closed")
UserNotFound = problem("not-found", detail="There is no such user.")
SessionNotFound = problem("not-found", detail="You have no such session.")
LastAdmin = problem("last-admin")
TooManyScriptTokens = problem("too-many-tokens")

WrongCredentials = problem("wrong-credentials", headers={"WWW-Authenticate": CHALLENGE})
WeakPassword = problem("weak-password")
WrongPassword = problem("wrong-password", field="current_password")
ResetTokenRefused = problem("reset-token-invalid", field="token")
TooBusy = problem(
    "unavailable", headers=RETRY_AFTER, detail="Too many logins at once; try again in a moment."
)


class InvalidKey(InvalidInput):
    def __init__(self, detail: str) -> None:
        super().__init__({"Idempotency-Key": [Message("not-a-key", detail)]}, "header")


class KeyReused(InvalidInput):
    name = "key-reused"

    def __init__(self) -> None:
        message = Message(self.name, "Was used before, with another request.")
        super().__init__({"Idempotency-Key": [message]}, "header")


KeyInUse = problem(
    "still-running",
    headers=RETRY_AFTER,
    detail="The first request with this Idempotency-Key is still running.",
)
