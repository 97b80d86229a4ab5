"""What the catalogue refuses. The text is what the client reads."""

from typing import Any


class BookNotFound(Exception):
    def __init__(self) -> None:
        super().__init__("There is no such book.")


class NotTheOwner(Exception):
    def __init__(self) -> None:
        super().__init__("Only the book's owner and admins may change or delete it.")


class KeyReused(Exception):
    def __init__(self) -> None:
        super().__init__("Was used before, with another request.")


class KeyInUse(Exception):
    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still running.")


class BookChanged(Exception):
    """If-Match names another version; `current` is the book as it is now."""

    def __init__(self, current: dict[str, Any], etag: str) -> None:
        super().__init__("The book has changed since you read it.")
        self.current, self.etag = current, etag
