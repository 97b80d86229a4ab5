"""Accounts and sessions. What other parts may use is imported here."""

from books_api.auth.exceptions import TokenRevoked, UserNotFound
from books_api.auth.guard import identity, token_required
from books_api.auth.models import Role, User
from books_api.auth.routes import blueprint
from books_api.auth.sessions import live_user
from books_api.auth.tokens import Identity

__all__ = [
    "Identity",
    "Role",
    "TokenRevoked",
    "User",
    "UserNotFound",
    "blueprint",
    "identity",
    "live_user",
    "token_required",
]
