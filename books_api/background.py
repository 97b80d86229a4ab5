"""Work that a request begins and nobody waits for."""

import logging
import threading
import time
from collections.abc import Callable

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

logger = logging.getLogger("books_api.background")


class Background:
    """Does one kind of work in a thread, never twice at once, with a pause after each time."""

    def __init__(self, app: Flask, work: Callable[[], object], *, pause: float) -> None:
        self._app = app
        self._work = work
        self._pause = pause  # seconds
        self._busy = threading.Lock()
        self._not_before = 0.0

    def start(self) -> None:
        """Begin, unless it is being done or was done just now."""
        if time.monotonic() < self._not_before or not self._busy.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._run, name=self._work.__name__, daemon=True).start()
        except RuntimeError:  # no more threads: later
            self._busy.release()

    def _run(self) -> None:
        try:
            with self._app.app_context():
                self._work()
        except (RedisError, SQLAlchemyError) as error:
            logger.warning("%s failed: %s", self._work.__name__, error)
        finally:
            self._not_before = time.monotonic() + self._pause
            self._busy.release()
