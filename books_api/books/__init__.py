"""The catalogue."""

from books_api.books.routes import blueprint

__all__ = ["blueprint"]
