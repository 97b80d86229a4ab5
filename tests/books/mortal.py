"""The application in a worker that dies when a request asks for it: its answer is never sent."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from wsgi import app as application


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
        return start_response(status, [*headers, ("X-Worker", str(os.getpid()))], error)

    answer: Iterable[bytes] = application(environ, start)  # has committed what it commits
    if "HTTP_X_DIE" in environ:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
