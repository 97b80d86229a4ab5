"""What the catalogue refuses. The text is what the client reads."""

from collections.abc import Iterable, Mapping
from typing import Any

from books_api.books.models import etag
from books_api.web.problems import (
    InvalidInput,
    Message,
    NotFound,
    Problem,
    RateLimited,
)


class BookNotFound(NotFound):
    detail = "There is no such book."


class NotTheOwner(Problem):
    """The book belongs to another user."""

    name, status, title = "not-the-owner", 403, "Not the owner"
    remedy = "Ask the book's owner or an admin."
    detail = "Only the book's owner and admins may change or delete it."
    event = "access_denied"


class TooManyAtOnce(RateLimited):
    """What one user may have running at once is running."""


class TooManySearches(TooManyAtOnce):
    detail = "You have too many searches running at once; send this one when another has ended."


class DecidedByServer(InvalidInput):
    """A member that the server decides was sent with another value."""

    def __init__(self, names: Iterable[str]) -> None:
        text = "Is decided by the server: send it back unchanged, or leave it out."
        super().__init__({name: [Message("read-only", text)] for name in names}, "json")


class CursorExpired(Problem):
    """The cursor is older than what is remembered, or from before the service was restored."""

    name, status, title = "cursor-expired", 410, "Cursor expired"
    remedy = "Begin again without a cursor, and drop what is not among the books that you get."
    detail = "The changes since this cursor are not known any more; begin again without a cursor."


class BookChanged(Problem):
    """If-Match names another version; `current` is the book as it is now."""

    name, status, title = "book-changed", 412, "Book changed"
    remedy = "Apply the change to `current`, and send it with the ETag of this answer."
    detail = "The book has changed since you read it."

    def __init__(self, current: dict[str, Any]) -> None:
        super().__init__()
        self.current = current

    @property
    def headers(self) -> Mapping[str, str]:
        return {"ETag": etag(self.current)}

    @property
    def members(self) -> dict[str, Any]:
        return {"current": self.current}
