"""The catalogue."""

from books_api.books import profile, transfer  # noqa: F401  # they add views to the blueprints
from books_api.books.routes import blueprint

__all__ = ["blueprint"]
