"""The catalogue. What a book is stands here once: rows, schemas, files are derived from it."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from books_api.model_base import Model, Timestamp, UUIDKey

TITLE_MAX = 500
AUTHOR_MAX = 1_000
PUBLISHER_MAX = 500
LANGUAGE_MAX = 35  # RFC 5646, 4.4.1
PAGE_COUNT_MAX = 100_000

# The first day of a partial date: what books are sorted and filtered by.
FIRST_DAY = (
    "make_date(left(published_date, 4)::integer,"
    " coalesce(nullif(substr(published_date, 6, 2), ''), '1')::integer,"
    " coalesce(nullif(substr(published_date, 9, 2), ''), '1')::integer)"
)
# What q searches. The functions are made by the migration. books_fold(): lower case, no accents,
# no punctuation. books_words(): words, where the script puts no spaces between them.
SEARCH = " || ".join(
    f"setweight(to_tsvector('simple'::regconfig, books_words(books_fold({text}))), '{weight}')"
    for text, weight in (("title", "A"), ("author", "B"), ("coalesce(publisher, '')", "C"))
)


class Book(Model):
    """A book. Its indexes on expressions are made by migrations: Alembic cannot compare them."""

    __tablename__ = "books"
    __table_args__ = (
        sa.CheckConstraint(f"page_count BETWEEN 1 AND {PAGE_COUNT_MAX}", name="page_count"),
        sa.CheckConstraint("isbn ~ '^97[89][0-9]{10}$'", name="isbn"),
        sa.Index("ix_books_newest", "created_at", "id"),
        sa.Index("ix_books_newest_of_user", "user_uid", "created_at", "id"),
        sa.Index("ix_books_updated", "updated_at", "id"),
        sa.Index("ix_books_isbn_of_user", "isbn", "user_uid", "id"),
    )

    id: Mapped[UUIDKey]
    title: Mapped[str] = mapped_column(sa.String(TITLE_MAX))
    author: Mapped[str] = mapped_column(sa.String(AUTHOR_MAX))
    publisher: Mapped[str | None] = mapped_column(sa.String(PUBLISHER_MAX))
    published_date: Mapped[str | None] = mapped_column(sa.String(10))
    published_on: Mapped[date | None] = mapped_column(sa.Computed(FIRST_DAY, persisted=True))
    page_count: Mapped[int | None]
    language: Mapped[str | None] = mapped_column(sa.String(LANGUAGE_MAX))
    isbn: Mapped[str | None] = mapped_column(sa.String(13))
    user_uid: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    search: Mapped[str | None] = mapped_column(TSVECTOR, sa.Computed(SEARCH, persisted=True))
    author_text: Mapped[str | None] = mapped_column(
        sa.Text, sa.Computed("books_fold(author)", persisted=True)
    )


# In the order of an answer's members.
STORED = [column for column in Book.__table__.columns if column.computed is None]
MEMBERS = tuple(column.name for column in STORED)
BY_SERVER = {"id", "user_uid", "version", "created_at", "updated_at"}
FIELDS = tuple(name for name in MEMBERS if name not in BY_SERVER)  # what a client decides


def etag(book: Mapping[str, Any]) -> str:
    """Return the strong entity tag of the book's version."""
    return f'"{book["version"]}"'


class BookChange(Model):
    """What a transaction has changed, logged by triggers; the deletion of a book, too."""

    __tablename__ = "book_changes"
    __table_args__ = (sa.Index("ix_book_changes_of_user", "user_uid", "changed_in", "book_id"),)

    changed_in: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    book_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_uid: Mapped[UUID]
    is_deletion: Mapped[bool]
    changed_at: Mapped[Timestamp]


class BookWord(Model):
    """A word of some book, or of none until prune_words(); a word may be there twice."""

    __tablename__ = "book_words"
    __table_args__ = (sa.Index("ix_book_words_word", "word"),)

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    word: Mapped[str] = mapped_column(sa.Text(collation="C"))


OWNER_WORDS = sa.Table(
    "owner_words",  # the same of each owner
    Model.metadata,
    sa.Column("user_uid", sa.Uuid, nullable=False),
    sa.Column("word", sa.Text(collation="C"), nullable=False),
    sa.Index("ix_owner_words_word", "user_uid", "word"),
)
