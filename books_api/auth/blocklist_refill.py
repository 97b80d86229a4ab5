"""How the copy in Redis is made whole, in the background: nobody waits for it.

When Redis has lost the marker, blocklist.read() has Postgres answer and starts this:

1. The Redis is named in Postgres, unless it is already: see blocklist_lease.py.
2. START names the fill by a text with the server's clock and identity, and keeps it in FILLING.
   Delivered again, it makes another name, which no filler knows.
3. The revoking transactions under way are waited for, and no others are: these may have set their
   pendings in a memory that is lost. They end, so the rows read next include what they commit.
   Who locks later sets his pendings while FILLING exists.
4. Each page of rows is merged only if FILLING still has the name. A filler that wakes up late, or a
   page that arrives late, finds another name, or adds what is true anyway.
5. FINISH sets the marker, to the name of the Redis, if FILLING has the name of the fill and the
   server the identity in both: this memory is the one that has had every page, and every pending
   since 2. It removes FILLING: once is all.

FILLING expires when its filler is dead; until then, and while Postgres or a lock is slow, there may
be no marker, and Postgres answers. A pass over a whole copy finds nothing to write: see MERGE.
"""

import secrets
import time

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy import bindparam, func, select, text

from books_api.auth import blocklist
from books_api.auth.blocklist_lease import claim
from books_api.auth.models import Revocation
from books_api.background import Background
from books_api.database import Statement
from books_api.observability.metrics import REFILLS

PAGE = 500  # rows: a few milliseconds of Redis, which does nothing else meanwhile

START, FINISH = ((blocklist.LUA / f"{name}.lua").read_text("utf-8") for name in ("start", "finish"))
ROWS = Statement(
    select(*blocklist.COLUMNS)
    .where(Revocation.key > bindparam("after"), Revocation.expires_at > func.now())
    .order_by(Revocation.key)
    .limit(PAGE)
)
REVOKING = Statement(
    text(
        "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory'"
        " AND (classid, objid, objsubid) = (0, :lock, 1)"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).bindparams(lock=blocklist.ADVISORY_LOCK)
)


def fill() -> bool:
    """Make the copy whole; False if another filler does. Raises RedisError, SQLAlchemyError."""
    of_redis = claim(blocklist.identity)
    name = blocklist.run(START, [blocklist.FILLING], secrets.token_hex(8))
    if name is None:
        return False
    under_way = set(REVOKING.rows())
    while under_way:
        time.sleep(0.05)
        blocklist.merge([], name)
        under_way &= set(REVOKING.rows())
    after, more = "", True
    while more:
        begin = time.perf_counter()
        rows = ROWS.rows(after=after)
        blocklist.merge([blocklist.Change(*row) for row in rows], name)
        if more := len(rows) == PAGE:
            after = rows[-1][0]
            time.sleep(time.perf_counter() - begin)  # half of a processor is for the requests
    everybody = blocklist.PREFIX + blocklist.MARKS
    keys = [blocklist.FILLING, blocklist.MARKER, blocklist.FRESH, everybody]
    if not blocklist.run(FINISH, keys, name, of_redis, blocklist.MARKED_MS):
        raise RedisError("Redis has lost what it was filled with.")
    REFILLS.inc()
    return True


def init_app(app: Flask) -> None:
    """Give the application its filler."""
    app.extensions["blocklist_filler"] = Background(app, fill, pause=1)
