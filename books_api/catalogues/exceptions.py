"""What an import refuses. The text is what the client reads."""

from books_api.auth.exceptions import StillRunning
from books_api.books.exceptions import TooManyAtOnce
from books_api.web.problems import InvalidInput


class ImportRunning(StillRunning):
    detail = "Another import of this user is still running."


class TooManyExports(TooManyAtOnce):
    detail = "You have too many exports running at once; send this one when another has ended."


class UnreadableCatalogue(InvalidInput):
    """A file that cannot be read, as a whole."""

    def __init__(self, detail: str) -> None:
        super().__init__([detail], "json")


class UnknownColumn(InvalidInput):
    """A mapping names a field or a column that there is not, or one twice."""

    def __init__(self, detail: str) -> None:
        super().__init__([detail], "json")
