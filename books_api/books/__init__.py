"""The catalogue."""

from books_api.books import profile  # noqa: F401  # adds its view to the auth blueprint
from books_api.books.routes import blueprint

__all__ = ["blueprint"]
