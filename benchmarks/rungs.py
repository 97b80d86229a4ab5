"""The same requests in rungs, each with one part more than the one before: see parts.py."""

import json
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID, uuid4

from flask import Flask, Response, request

from benchmarks.floor import BOOKS, GET_20, GET_ONE, POST, execute, redis
from benchmarks.servers import BOOK

ANSWER = json.dumps({**BOOK, "id": str(UUID(int=0)), "user_uid": str(UUID(int=0))}).encode()
KEYS = [f"{{books}}:{name}" for name in ("named", "fresh", "jti", "sid", "epoch")]
ADD_BOOK = POST.replace("%s)\n", "(SELECT id FROM users LIMIT 1))\n")


def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer what the others do: what this costs is gunicorn's."""
    environ["wsgi.input"].read()
    is_list = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] == BOOKS
    body = ANSWER * (20 if is_list else 1)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def build(parts: int) -> Flask:
    """Return an application that dispatches, that asks Redis too, and that asks Postgres too."""
    app = Flask(__name__)

    def answer(statement: str, parameters: tuple[Any, ...] = (), books: int = 1) -> Response:
        if parts > 1:
            redis.mget(KEYS)
        if parts > 2:
            execute(statement, parameters).fetchall()
        return Response(ANSWER * books, content_type="application/json")

    @app.get(f"{BOOKS}<uuid:book_id>")
    def get_book(book_id: UUID) -> Response:
        return answer(GET_ONE, (str(book_id),))

    @app.get(BOOKS)
    def list_books() -> Response:
        return answer(GET_20, books=20)

    @app.post(BOOKS)
    def create_book() -> Response:
        request.get_data()
        return answer(ADD_BOOK, (str(uuid4()), *BOOK.values()))

    return app
