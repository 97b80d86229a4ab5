"""What an import or export refuses. The text is what the client reads."""

from books_api.web.problems import RETRY_AFTER, InvalidInput, RateLimited, problem

ImportRunning = problem(
    "still-running", headers=RETRY_AFTER, detail="Another import of this user is still running."
)
TooManyExports = problem(
    "rate-limited",
    RateLimited,
    detail="You have too many exports running at once; send this one when another has ended.",
)


class UnreadableCatalogue(InvalidInput):
    """A file that cannot be read, as a whole."""


class UnknownColumn(InvalidInput):
    """A mapping names a field or a column that there is not, or one twice."""
