"""What the accounts and sessions refuse. The text is what the client reads."""


class EmailTaken(Exception):
    field = "email"

    def __init__(self) -> None:
        super().__init__("Another account has this email.")


class UsernameTaken(Exception):
    field = "username"

    def __init__(self) -> None:
        super().__init__("Another account has this username.")


class WrongCredentials(Exception):
    """Unknown email, wrong password and inactive account alike."""

    def __init__(self) -> None:
        super().__init__("The email or the password is wrong.")


class WrongPassword(Exception):
    field = "current_password"

    def __init__(self) -> None:
        super().__init__("Is not your password.")


class WeakPassword(Exception):
    """A new password that is easily guessed; `field` is where it was given."""

    def __init__(self, detail: str, field: str = "password") -> None:
        super().__init__(detail)
        self.field = field


class PasswordRequired(Exception):
    field = "current_password"

    def __init__(self) -> None:
        super().__init__("Is required to change the email.")


class SignupDisabled(Exception):
    def __init__(self) -> None:
        super().__init__("Sign-up is closed here; ask the operator for an account.")


class TokenRefused(Exception):
    """The bearer token is missing, malformed, expired, revoked or of the wrong type.

    `error` is RFC 6750's code, None where the request carried no credentials.
    """

    def __init__(self, detail: str, error: str | None = "invalid_token") -> None:
        super().__init__(detail)
        self.error = error


class Forbidden(Exception):
    """The token is good, and does not allow this."""

    def __init__(self, detail: str, error: str | None = None) -> None:
        super().__init__(detail)
        self.error = error


class ResetTokenRefused(Exception):
    field = "token"

    def __init__(self) -> None:
        super().__init__("Is not a valid reset token: it is wrong, expired or used.")


class UserNotFound(Exception):
    def __init__(self) -> None:
        super().__init__("There is no such user.")


class SessionNotFound(Exception):
    def __init__(self) -> None:
        super().__init__("You have no such session.")


class LastAdmin(Exception):
    def __init__(self) -> None:
        super().__init__("The last active admin must stay an active admin.")


class TooBusy(Exception):
    """More passwords wait to be checked than this process checks at once."""

    def __init__(self) -> None:
        super().__init__("Too many logins at once; try again in a moment.")
