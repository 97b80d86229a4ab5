"""Deadlines on the client's side, for a Postgres that is frozen: the kernel acknowledges for it.

Before a connection waits for the server it notes when the answer is due. One thread for each
process shuts down the sockets of what is overdue, and libpq fails as on any broken connection. (A
wait callback would do so too, but psycopg2 has no COPY with it.) The idle connections go with it,
and connecting is refused for a moment: nobody else waits in vain for the same server. What waits
for more than a moment is overdue at once when the server does not greet a newcomer: it is frozen or
cut off, and no statement of it is merely slow. Each server is asked by a thread of its own.

An overdue write may be done all the same once the server goes on: an Idempotency-Key makes it safe
to send it again.
"""

import errno
import os
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from time import monotonic, sleep
from typing import Any

import psycopg2
from psycopg2 import extensions
from psycopg2.errorcodes import READ_ONLY_SQL_TRANSACTION

DEADLINE = 7.0  # seconds: a server that lives ends a statement before, by its statement_timeout
TICK = 0.25
SUSPICION = 0.5  # so long a server may be silent before it is asked whether it lives,
GREETING = 1.5  # and so long it may take to say so: a lost packet is sent again after 1 s
SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # answered before anybody logs in, with S or N
# What fails on this side says nothing of the server: no descriptor, memory or port is left, or its
# Unix socket has another path here than for the server, or a full queue.
NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)
NOT_ASKED = (*NO_RESOURCES, errno.ENOENT, errno.EACCES, errno.EAGAIN)
PAUSE = 1.0  # after a time-out, until somebody tries to connect again

_lock = threading.RLock()  # the garbage collector may close a connection in the midst of it
_open: "weakref.WeakSet[DeadlineConnection]" = weakref.WeakSet()
_asked: dict[object, float] = {}  # when each server was asked last, by its address
_thread: threading.Thread | None = None


class Overdue(psycopg2.OperationalError):
    """Postgres did not answer in time: what was sent may be done or not."""


def _bounded(method: Callable[..., Any], *, of_cursor: bool = False) -> Any:
    """Return the method, whose wait for the server has its connection's deadline."""

    def bounded(self: Any, *arguments: Any) -> Any:
        connection = self.connection if of_cursor else self
        begun = monotonic()
        connection.due = begun + connection.seconds
        try:
            return method(self, *arguments)
        except psycopg2.Error as error:
            if error.pgcode == READ_ONLY_SQL_TRANSACTION:  # its server is no longer the primary
                connection.close()
            if connection.closed and connection.server:
                connection.server.drop_idle()
            if connection.is_shut:
                raise Overdue(
                    f"Postgres did not answer for {monotonic() - begun:.1f} s."
                ) from error
            raise
        finally:
            connection.due = inf

    return bounded


def _rows(self: Any, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with extensions.cursor(self) as cursor:  # one deadline for all of it costs least
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


# A cursor on the server waits for what it fetches, too, and when it is closed.
WAITING = ("execute", "executemany", "copy_expert", "fetchone", "fetchmany", "fetchall", "close")
Cursor = type(
    "Cursor",
    (extensions.cursor,),
    {name: _bounded(getattr(extensions.cursor, name), of_cursor=True) for name in WAITING},
)


class DeadlineConnection(extensions.connection):
    """A connection that waits `seconds` for each answer, and no longer."""

    seconds = DEADLINE
    due = inf
    is_shut = False
    server: "Server | None" = None

    rows: Callable[[str, Mapping[str, Any]], list[tuple[Any, ...]]] = _bounded(_rows)
    commit = _bounded(extensions.connection.commit)
    _rollback = _bounded(extensions.connection.rollback)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.cursor_factory = Cursor
        try:
            # A descriptor of our own: libpq may close its one at any moment, and the number may be
            # another connection's when we come to use it.
            self._socket = socket.socket(fileno=os.dup(self.fileno()))
            weakref.finalize(self, self._socket.close)
            self.peer = self._socket.getpeername()
        except OSError as error:  # it is broken already, or no descriptor is left
            raise psycopg2.OperationalError(f"Postgres: {error}") from error
        _watch(self)

    def rollback(self) -> None:
        # The pool asks for it each time: of nothing, it sends nothing.
        if self.closed or self.status != extensions.STATUS_READY:
            self._rollback()

    def close(self) -> None:
        super().close()
        with _lock:
            self._socket.close()

    def is_suspect(self, now: float) -> bool:
        """Tell whether it has waited for long since it began, or since its server was asked."""
        return max(self.due - self.seconds, _asked.get(self.peer, 0.0)) + SUSPICION < now

    def greets(self) -> bool:
        """Tell whether its server, or the pooler in between, answers a new connection."""
        try:
            with socket.socket(self._socket.family) as newcomer:
                newcomer.settimeout(GREETING)
                newcomer.connect(self.peer)
                newcomer.sendall(SSL_REQUEST)
                return bool(newcomer.recv(1))
        except OSError as error:
            return error.errno in NOT_ASKED

    def shut(self) -> None:
        """Make the wait for the server end, now or when it begins."""
        self.is_shut = True
        with _lock, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Server:
    """The server of an engine: connecting to it is refused for a moment after a time-out.

    Of several hosts the one that has answered last is tried first.
    """

    silent_until = 0.0
    host: str | None = None

    def connect(self, dialect: Any, record: object, arguments: Any, options: Any) -> Any:
        """Connect; SQLAlchemy's do_connect. Raises psycopg2.OperationalError."""
        begun = monotonic()
        if begun < self.silent_until:
            raise psycopg2.OperationalError("Postgres did not answer a moment ago.")
        if self.silent_until:  # one finds out whether it answers again; the others do not wait
            self.silent_until = begun + DEADLINE
        try:
            connection = dialect.connect(*arguments, **self._in_order(options))
        except psycopg2.OperationalError:
            self.silent_until = 0.0
            if monotonic() - begun > PAUSE:  # and was not refused at once
                self.give_up()
            raise
        self.silent_until = 0.0
        connection.server, self.host = self, connection.info.host
        return connection

    def _in_order(self, options: dict[str, Any]) -> dict[str, Any]:
        hosts, ports = (str(options.get(name, "")).split(",") for name in ("host", "port"))
        if self.host not in hosts[1:]:
            return options
        first = hosts.index(self.host)
        options = options | {"host": ",".join(hosts[first:] + hosts[:first])}
        if len(ports) > 1:
            options["port"] = ",".join(ports[first:] + ports[:first])
        return options

    def give_up(self) -> None:
        """Refuse the next connections, and drop the idle ones."""
        self.silent_until = monotonic() + PAUSE
        self.drop_idle()

    def drop_idle(self) -> None:
        """Break the idle connections: they lead where one has just broken.

        Those in a transaction find out by themselves: one may have broken alone.
        """
        for connection in _connections():
            is_idle = connection.due == inf and connection.status == extensions.STATUS_READY
            if connection.server is self and is_idle:
                connection.shut()


def _watch(connection: DeadlineConnection) -> None:
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            _open.clear()  # in a process that was forked: these are its parent's
            _asked.clear()
            _thread = threading.Thread(target=_run, name="deadlines", daemon=True)
            with suppress(RuntimeError):  # no thread can be had now
                _thread.start()
        _open.add(connection)


def _connections() -> list[DeadlineConnection]:
    with _lock:
        return list(_open)


def _run() -> None:
    while True:
        begun = monotonic()
        sleep(TICK)
        # After a halt of this process itself (SIGSTOP, a debugger) answers may be there already.
        if monotonic() - begun < 2 * TICK + PAUSE:
            _shut_overdue(monotonic())


def _shut_overdue(now: float) -> None:
    _give_up([connection for connection in _connections() if connection.due < now])
    suspects = {one.peer: one for one in _connections() if one.is_suspect(now)}
    for peer, suspect in suspects.items():
        _asked[peer] = now + 2 * GREETING  # not again before it must have answered
        with suppress(RuntimeError):  # no thread can be had now
            threading.Thread(target=_ask, args=(suspect,), daemon=True).start()


def _ask(suspect: DeadlineConnection) -> None:
    begun = monotonic()
    if not suspect.greets():
        of_server = [one for one in _connections() if one.peer == suspect.peer]
        _give_up([one for one in of_server if one.due - one.seconds < begun])
    _asked[suspect.peer] = monotonic()


def _give_up(connections: Sequence[DeadlineConnection]) -> None:
    for connection in connections:
        connection.shut()
    for server in {connection.server for connection in connections}:
        if server is not None:
            server.give_up()
