"""What the catalogue refuses; docs/problems.toml has the words."""

from collections.abc import Iterable, Mapping
from typing import Any

from books_api.books.models import etag
from books_api.web.problems import InvalidInput, Message, Problem, RateLimited, problem

BookNotFound = problem("not-found", detail="There is no such book.")
NotTheOwner = problem("not-the-owner", event="access_denied")
CursorExpired = problem("cursor-expired")
TooManySearches = problem(
    "rate-limited",
    RateLimited,
    detail="You have too many searches running at once; send this one when another has ended.",
)


class DecidedByServer(InvalidInput):
    """A member that the server decides was sent with another value."""

    def __init__(self, names: Iterable[str]) -> None:
        text = "Is decided by the server: send it back unchanged, or leave it out."
        super().__init__({name: [Message("read-only", text)] for name in names})


class BookChanged(Problem):
    """If-Match names another version; `current` is the book as it is now."""

    name = "book-changed"

    def __init__(self, current: dict[str, Any]) -> None:
        super().__init__()
        self.current = current

    @property
    def headers(self) -> Mapping[str, str]:
        return {"ETag": etag(self.current)}

    @property
    def members(self) -> dict[str, Any]:
        return {"current": self.current}
