"""The catalogue."""

from books_api.books import profile  # noqa: F401  # it adds a view to a blueprint
from books_api.books.routes import blueprint

__all__ = ["blueprint"]
