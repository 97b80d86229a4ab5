"""Catalogues: files in and out. Above books, which knows nothing of it."""

from books_api.catalogues.routes import blueprint

__all__ = ["blueprint"]
