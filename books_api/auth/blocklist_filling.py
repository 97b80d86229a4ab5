"""How the copy in Redis is made whole, in the background: nobody waits for it.

1. START names the fill by a text with the server's clock and identity, and keeps it in FILLING.
   Delivered again, it makes another name, which no filler knows.
2. The revoking transactions under way are waited for, and no others are: these may have set their
   pendings in a memory that is lost. They end, so the rows read next include what they commit.
   Who locks later sets his pendings while FILLING exists.
3. Each page of rows is merged only if FILLING still has the name. A filler that wakes up late, or a
   page that arrives late, finds another name, or adds what is true anyway.
4. FINISH sets the marker if FILLING has the name and the server the identity in it: this memory is
   the one that has had every page, and every pending since 1. It removes FILLING: once is all.

FILLING expires when its filler is dead; until then, and while Postgres or a lock is slow, there may
be no marker, and Postgres answers. A pass over a whole copy finds nothing to write: see MERGE.
"""

import logging
import secrets
import threading
import time

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy import bindparam, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from books_api.auth.blocklist import (
    ADVISORY_LOCK,
    COLUMNS,
    FILLING,
    FILLING_SECONDS,
    FRESH,
    MARKER,
    Change,
    merge,
    run,
)
from books_api.auth.models import Revocation
from books_api.database import Statement

REFRESH_SECONDS = 300  # the copy is made anew this often, whatever happened to it
MARKER_SECONDS = 900  # the one in place stays valid meanwhile
RETRY_SECONDS = 1
PAGE = 500  # rows: a few milliseconds of Redis, which does nothing else meanwhile

IDENTITY = """
local info = redis.call('INFO')
assert(string.find(info, 'maxmemory_policy:noeviction', 1, true), 'Redis evicts')
local identity = string.match(info, 'run_id:(%w+)') .. ':'
    .. string.match(info, 'master_replid:(%w+)')
"""
START = f"""{IDENTITY}
local filling, marker = unpack(redis.call('MGET', KEYS[1], KEYS[2]))
if filling and string.sub(filling, -#identity) == identity then return false end
if marker and marker ~= identity then redis.call('DEL', KEYS[2]) end
local time = redis.call('TIME')
local name = table.concat({{ARGV[1], time[1], time[2], identity}}, ':')
redis.call('SET', KEYS[1], name, 'EX', {FILLING_SECONDS})
return name
"""
FINISH = f"""{IDENTITY}
local name = redis.call('GET', KEYS[1])
if name ~= ARGV[1] or string.sub(name, -#identity) ~= identity then return 0 end
redis.call('SET', KEYS[2], identity, 'EX', {MARKER_SECONDS})
redis.call('SET', KEYS[3], '1', 'EX', {REFRESH_SECONDS})
return redis.call('DEL', KEYS[1])
"""
ROWS = Statement(
    select(*COLUMNS)
    .where(Revocation.key > bindparam("after"), Revocation.expires_at > func.now())
    .order_by(Revocation.key)
    .limit(PAGE)
)
REVOKING = Statement(
    text(
        "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory'"
        " AND (classid, objid, objsubid) = (0, :lock, 1)"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).bindparams(lock=ADVISORY_LOCK)
)

logger = logging.getLogger("books_api.blocklist")


def fill() -> bool:
    """Make the copy whole; False if another filler does. Raises RedisError, SQLAlchemyError."""
    name = run(START, [FILLING, MARKER], secrets.token_hex(8))
    if name is None:
        return False
    under_way = set(REVOKING.rows())
    while under_way:
        time.sleep(0.05)
        merge([], name)
        under_way &= set(REVOKING.rows())
    after, more = "", True
    while more:
        begin = time.perf_counter()
        rows = ROWS.rows(after=after)
        merge([Change(*row) for row in rows], name)
        if more := len(rows) == PAGE:
            after = rows[-1][0]
            time.sleep(time.perf_counter() - begin)  # half of a processor is for the requests
    if not run(FINISH, [FILLING, MARKER, FRESH], name):
        raise RedisError("Redis has lost what it was filled with.")
    return True


class Filler:
    """Fills the copy in the background, one fill at a time."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._busy = threading.Lock()
        self._not_before = 0.0

    def start(self) -> None:
        if time.monotonic() < self._not_before or not self._busy.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._fill, name="filler", daemon=True).start()
        except RuntimeError:  # no more threads: later
            self._busy.release()

    def _fill(self) -> None:
        try:
            with self._app.app_context():
                fill()
        except (RedisError, SQLAlchemyError) as error:
            logger.warning("Redis could not be filled: %s", error)
        finally:
            self._not_before = time.monotonic() + RETRY_SECONDS
            self._busy.release()


def init_app(app: Flask) -> None:
    """Give the application its filler."""
    app.extensions["blocklist_filler"] = Filler(app)
