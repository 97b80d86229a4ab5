"""Which Redis is believed: the one that a row in Postgres names.

Redis cannot tell that another one was promoted while it lives: two may be primaries at once, and
each of them has been whole. A name is a random token and the server's identity. It is the value of
the marker, too: what was whole under an earlier name is not whole under this one.

- A process believes a name for TRUST_SECONDS, from before it asked. Then it asks again: in the
  background while there are requests, otherwise in the statement that answers in place of Redis.
- Whoever names another Redis takes the old name away, waits until nobody can believe it, and then
  sets its own, unless somebody has begun the same meanwhile. No clock is compared with another's.
- A revoking transaction has its pendings acknowledged by the Redis that it finds named. If that is
  named no more when it commits, the fill under the next name has waited for it; if it finds a new
  name, nobody believes the old one. What is acknowledged is in the copy that the others read, or
  they ask Postgres.

A standby may know old names and old rows: nothing that it says is believed.
"""

import secrets
import time
from collections.abc import Callable
from math import inf

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy import text

from books_api.background import Background
from books_api.database import Statement
from books_api.extensions import extension

TRUST_SECONDS = 1.0
ASK_SECONDS = 0.5
DRIFT_SECONDS = 0.25  # between two clocks, in that time
# For so long nobody else may rename: the halves of a split network take turns, and each comes to an
# end with what it has begun.
NAMING_SECONDS, NAMED_SECONDS = 3.0, 5.0

NAME = Statement(text("SELECT name FROM blocklist_copy WHERE NOT pg_is_in_recovery()"))
RENAME = """
    UPDATE blocklist_copy
    SET name = :new, held_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE name = :old {} RETURNING name
"""
CLEAR = Statement(text(RENAME.format("AND held_until <= clock_timestamp()")))
SET = Statement(text(RENAME.format("")))


class Trust:
    """The name that this process has last been told, and when it asked."""

    def __init__(self, app: Flask) -> None:
        self._told = (-inf, "")
        # As long as the trust itself, every second name would be believed no more before the next.
        self._asking = Background(app, ask, pause=ASK_SECONDS / 2)

    @property
    def name(self) -> str:
        """What was told last, however long ago."""
        return self._told[1]

    def learn(self, names: list[str], asked: float) -> None:
        """Take what Postgres said to a question of that moment. Raises RedisError for a standby."""
        if not names:
            raise RedisError("Postgres is a standby, which does not know what has ended.")
        self._told = max(self._told, (asked, names[0]))

    def believes(self, name: str | None) -> bool:
        """Tell whether it is the name, as far as can be known now."""
        asked, told = self._told
        age = time.monotonic() - asked
        if ASK_SECONDS < age < TRUST_SECONDS:
            self._asking.start()
        return age < TRUST_SECONDS and name == told


def trust() -> Trust:
    """Return the current application's."""
    found: Trust = extension("blocklist_trust")
    return found


def ask() -> str:
    """Return the name; "" if there never was any. Raises RedisError, SQLAlchemyError."""
    asked = time.monotonic()
    trust().learn([name for (name,) in NAME.rows()], asked)
    return trust().name


def claim(identity: Callable[[], str]) -> str:
    """Return the name of the Redis of this identity, which is given one unless it has it.

    Its first replica may have changed it meanwhile: what is named is asked for at the end.

    Raises RedisError while another one is held, and SQLAlchemyError.
    """
    old = ask()
    if old.partition(":")[2] == identity():
        return old
    token = secrets.token_hex(8)
    if not CLEAR.rows(old=old, new=token, seconds=NAMING_SECONDS):
        raise RedisError("Another Redis is in use: this one waits for its turn.")
    if old:
        time.sleep(TRUST_SECONDS + DRIFT_SECONDS)
    if not SET.rows(old=token, new=f"{token}:{identity()}", seconds=NAMED_SECONDS):
        raise RedisError("Another Redis is being named.")
    return ask()


def init_app(app: Flask) -> None:
    """Give the application its trust: none, at first."""
    app.extensions["blocklist_trust"] = Trust(app)
