"""What Postgres is sent: every statement counts, also those that a driver adds by itself."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATEMENT = re.compile(r"LOG:  statement: (.*(?:\n\t.*)*)")
IN_BACKGROUND = "SELECT name FROM blocklist_copy"  # which Redis is believed: blocklist_lease.py
# For DATABASE_URL.
LOGGED = "options=-c%20log_statement%3Dall"


@contextmanager
def statements(folder: Path) -> Iterator[list[str]]:
    """The SQL, values and all, that the server in the folder gets from who logs its statements.

    The list is filled at the end of the block. What a thread asks every few seconds is of no
    request.
    """
    sent: list[str] = []
    with (folder / "postgres" / "server.log").open(encoding="utf-8") as log:
        log.seek(0, 2)
        yield sent
        found = (text.replace("\n\t", "\n") for text in STATEMENT.findall(log.read()))
        sent += [text for text in found if not text.startswith(IN_BACKGROUND)]
