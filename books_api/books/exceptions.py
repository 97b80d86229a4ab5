"""What the catalogue refuses; web/docs/problems.toml has the words."""

from books_api.web.problems import RateLimited, problem

BookNotFound = problem("not-found", detail="There is no such book.")
BookChanged = problem("book-changed")
NotTheOwner = problem("not-the-owner", event="access_denied")
CursorExpired = problem("cursor-expired")
TooManySearches = problem(
    "rate-limited",
    RateLimited,
    detail="You have too many searches running at once; send this one when another has ended.",
)
