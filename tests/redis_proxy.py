"""A proxy in front of Redis that holds back or repeats one message."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

from tests.processes import wait_until

SIZE = 1 << 20  # so that what is sent at once arrives at once


class RedisProxy:
    """Passes on what clients and Redis send, counting the clients' messages.

    Of the message that is asked for it holds back the `request`, or the `reply`, until release();
    or passes it on and sends it once more at release(), as a `copy` over a connection of its own.
    """

    def __init__(self, path: Path, upstream: Path) -> None:
        self.url = f"unix://{path}?db=0"
        self._upstream = str(upstream)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._lock = threading.Lock()
        self._held = 0
        self._free = threading.Event()
        self._sockets = [self._listener]
        self.watch(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def watch(self, number: int, what: str = "request") -> None:
        """Count from one again, and hold back or repeat the message of this number."""
        with self._lock:
            self.count, self._number, self._what = 0, number, what
            self.reached, self._free = threading.Event(), threading.Event()

    def release(self) -> None:
        """Let go what is held; return when Redis has had it."""
        self._free.set()
        wait_until(lambda: not self._held)

    def close(self) -> None:
        self._free.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connect(self) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(5)
        server.connect(self._upstream)
        self._sockets.append(server)
        return server

    def _serve(self, client: socket.socket) -> None:
        """Pass on a client's messages, each with its reply: ours sends no two that depend."""
        self._sockets.append(client)
        with suppress(OSError), client, self._connect() as server:
            while message := client.recv(SIZE):
                with self._lock:
                    self.count += 1
                    what = self._what if self.count == self._number else ""
                    self._held += bool(what)
                    reached, free = self.reached, self._free
                try:
                    if what == "request":
                        reached.set()
                        free.wait()
                    reply = self._exchange(server, message)
                    if what == "reply":
                        reached.set()
                        free.wait()
                    client.sendall(reply)
                    if what == "copy":
                        reached.set()
                        free.wait()
                        with self._connect() as again:
                            self._exchange(again, message)
                finally:
                    self._held -= bool(what)

    def _exchange(self, server: socket.socket, message: bytes) -> bytes:
        server.sendall(message)
        return server.recv(SIZE)
