"""A standby of an embedded PostgreSQL: a copy that follows it."""

import os
from pathlib import Path

from development.embedded import EmbeddedError, Postgres, _make_private


class Standby(Postgres):
    """Streams from the primary, in a folder of its own; not durable."""

    def __init__(self, folder: Path, primary: Postgres) -> None:
        super().__init__(folder, durable=False)
        self._primary = primary

    def _launch(self, lock: int) -> None:
        if not self._data.exists():
            options = {"cwd": "/", "pass_fds": (lock,)} | self._account()
            _make_private(self._data, options.get("user", os.geteuid()))
            source = ["-d", self._primary.url.replace("/books", "/postgres", 1)]
            self._run("pg_basebackup", ["-R", "-c", "fast", *source], self._data, **options)
            (self._data / f"{self.socket}.lock").unlink(missing_ok=True)  # the primary's
        super()._launch(lock)

    def _serves(self) -> bool:
        try:
            self._run("psql", ["-Xqv", "ON_ERROR_STOP=1", self.url], input="SELECT")
        except EmbeddedError:
            return False
        return True
