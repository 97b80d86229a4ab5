"""What can be done with books: every user reads all, the owner and admins change them.

A read is one statement in autocommit; so is a plain write.

A book is a dictionary of what MEMBERS names, in the form of the answer.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from books_api.auth import Identity, User, UserNotFound
from books_api.auth.idempotency import owner_must_exist
from books_api.books.exceptions import BookChanged, BookNotFound, NotTheOwner
from books_api.books.lists import COLUMNS, as_answer, list_books
from books_api.books.models import BY_SERVER, FIELDS, Book, etag
from books_api.database import Statement, autocommit
from books_api.model_base import new_id_text
from books_api.web.fields import format_timestamp
from books_api.web.pagination import Page
from books_api.web.problems import InvalidInput, Message, Problem

READ_ONLY = Message(
    "read-only", "Is decided by the server: send it back unchanged, or leave it out."
)
_GET = Statement(select(*COLUMNS).where(Book.id == bindparam("book_id")))
_USER = Statement(select(User.id).where(User.id == bindparam("user_id")))
_CREATE = Statement(
    insert(Book)
    .values({name: bindparam(name) for name in ("id", "user_uid", *FIELDS)})
    .returning(*COLUMNS)
)
# In the statement itself and not in a check before it: Postgres decides between two editors. What
# is NULL does not restrict: not the editor of an admin, not the versions without If-Match.
_EDITOR = bindparam("editor", type_=Uuid(as_uuid=False))
_VERSIONS = bindparam("versions", type_=ARRAY(Integer))
_PERMITTED = (
    Book.id == bindparam("book_id"),
    or_(_EDITOR.is_(None), Book.user_uid == _EDITOR),
    or_(_VERSIONS.is_(None), Book.version == any_(_VERSIONS)),
)
_DELETE = Statement(delete(Book).where(*_PERMITTED).returning(Book.id))


def create_book(
    values: Mapping[str, Any], owner: Identity, connection: Connection | None = None
) -> dict[str, Any]:
    """Add a book and return it, committed unless it joins a transaction."""
    ids = {"id": new_id_text(), "user_uid": owner.user_id}
    with owner_must_exist():
        [book] = _CREATE.rows(connection=connection, **values, **ids)
    return as_answer(book)


def get_book(book_id: UUID) -> dict[str, Any]:
    """Return a book. Raises BookNotFound."""
    for book in _GET.rows(book_id=str(book_id)):
        return as_answer(book)
    raise BookNotFound


def list_books_of_user(user_id: UUID, **query: Any) -> Page[dict[str, Any]]:
    """Return a page of the user's books, as list_books() does. Raises UserNotFound too."""
    filters = {**query.pop("filters", {}), "user_uid": user_id}
    page = list_books(**query, filters=filters)
    if not page.rows:
        with autocommit() as primary:  # a standby may not have somebody who has just signed up
            if not _USER.rows(connection=primary, user_id=str(user_id)):
                raise UserNotFound
    return page


def update_book(
    book_id: UUID,
    values: Mapping[str, Any],
    *,
    editor: Identity,
    versions: Collection[int] | None = None,
) -> dict[str, Any]:
    """Change the values and return the book.

    With `versions`, only when the book's version is among them, or when the values are already
    there: the request is then taken for a repetition (RFC 9110, 13.1.1). What BY_SERVER names must
    be as it is. Raises BookNotFound, NotTheOwner, BookChanged, InvalidInput.
    """
    decided = {name: _answered(value) for name, value in values.items() if name in BY_SERVER}
    changes = {name: value for name, value in values.items() if name not in BY_SERVER}
    if changes:
        parameters = {**changes, **{f"same_{name}": value for name, value in decided.items()}}
        statement = _update(frozenset(changes), frozenset(decided))
        for book in statement.rows(**parameters, **_permitted(book_id, editor, versions)):
            return as_answer(book)
    current = _explain(book_id, editor)
    is_there = _has(current, changes)
    is_stale = versions is not None and current["version"] not in versions
    is_repeated = changes and is_there and decided.get("version") == current["version"] - 1
    # These two are of the version that the client has read, which is then known to be an older one.
    of_version = {"version", "updated_at"} if is_stale or is_repeated else set()
    if wrong := [name for name in decided.keys() - of_version if current[name] != decided[name]]:
        raise InvalidInput({name: [READ_ONLY] for name in wrong})
    if not is_there:
        raise _changed(current)
    return current


def delete_book(
    book_id: UUID, *, editor: Identity, versions: Collection[int] | None = None
) -> None:
    """Delete a book. Raises BookNotFound, NotTheOwner, BookChanged."""
    if not _DELETE.rows(**_permitted(book_id, editor, versions)):
        book = _explain(book_id, editor)
        raise _changed(book)


def _changed(book: dict[str, Any]) -> Problem:
    return BookChanged(headers={"ETag": etag(book)}, members={"current": book})


def _answered(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_timestamp(value)
    return str(value) if isinstance(value, UUID) else value


@lru_cache
def _update(names: frozenset[str], same: frozenset[str]) -> Statement:
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    unchanged = [c == bindparam(f"same_{c.name}") for c in COLUMNS if c.name in same]
    return Statement(
        update(Book)
        .where(*_PERMITTED, *unchanged)
        .values(values | {"version": Book.version + 1, "updated_at": func.now()})
        .returning(*COLUMNS)
    )


def _permitted(book_id: UUID, editor: Identity, versions: Collection[int] | None) -> dict[str, Any]:
    return {
        "book_id": str(book_id),
        "editor": None if editor.is_admin else editor.user_id,
        "versions": None if versions is None else list(versions),
    }


def _explain(book_id: UUID, editor: Identity) -> dict[str, Any]:
    """Return the book that the write did not match, or raise the reason."""
    book = get_book(book_id)
    if not editor.is_admin and book["user_uid"] != editor.user_id:
        raise NotTheOwner
    return book


def _has(book: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    return all(book[name] == value for name, value in changes.items())
