"""One application in a process of its own: `python -m benchmarks.turns MODULE:NAME`.

Reads a JSON line [[method, path, body, token], count], sends that many requests to the WSGI
application and prints the CPU time of one, in microseconds.
"""

import importlib
import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from werkzeug.test import EnvironBuilder


def sender(app: Any, method: str, path: str, body: Any, token: str) -> Callable[[], None]:
    """Return a function that sends the request to the WSGI application."""
    data = json.dumps(body).encode() if body else b""
    environ = EnvironBuilder(
        method=method,
        path=path,
        data=data,
        content_type="application/json" if body else None,
        headers={"Authorization": f"Bearer {token}"},
    ).get_environ()

    def send() -> None:
        answer = app({**environ, "wsgi.input": io.BytesIO(data)}, _start_response)
        b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()

    return send


def _start_response(status: str, headers: Any, error: Any = None) -> None:
    assert status[0] == "2", status


def main() -> None:
    module, _, name = sys.argv[1].partition(":")
    app = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        request, count = json.loads(line)
        send = sender(app, *request)
        begun = time.process_time()
        for _ in range(count):
            send()
        print((time.process_time() - begun) / count * 1e6, flush=True)


if __name__ == "__main__":
    main()
