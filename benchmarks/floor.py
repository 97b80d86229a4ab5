"""The floor: the least that a Flask application does to answer three requests of the API.

Each costs a route, one JWT, one question to Redis, one statement in autocommit and orjson. It
validates next to nothing and is never a product: the application is measured beside it, on the
same table, with the same tokens.
"""

import os
import threading
from typing import Any
from uuid import UUID, uuid4

import jwt
import orjson
import psycopg2
from flask import Flask, Response, abort, request
from redis import Redis

BOOKS = "/api/v1.0.0/books/"
INPUT = ("title", "author", "publisher", "published_date", "page_count", "language", "isbn")
NAMES = ("id", *INPUT, "user_uid", "version", "created_at", "updated_at")
COLUMNS = ", ".join(NAMES)
GET_ONE = f"SELECT {COLUMNS} FROM books WHERE id = %s"
GET_20 = f"SELECT {COLUMNS} FROM books ORDER BY created_at DESC, id DESC LIMIT 21"
POST = f"""
    INSERT INTO books (id, {", ".join(INPUT)}, user_uid) VALUES ({", ".join(["%s"] * 9)})
    RETURNING {COLUMNS}
"""

app = Flask(__name__)
redis = Redis.from_url(os.environ["REDIS_URL"])
key = os.environ["JWT_SECRET_KEY"]
thread = threading.local()


def execute(statement: str, parameters: tuple[Any, ...] = ()) -> Any:
    try:
        cursor = thread.connection.cursor()
    except AttributeError:
        thread.connection = psycopg2.connect(os.environ["DATABASE_URL"], options="-c timezone=UTC")
        thread.connection.autocommit = True
        cursor = thread.connection.cursor()
    cursor.execute(statement, parameters)
    return cursor


def user_id() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        claims = jwt.decode(token, key, ["HS256"], options={"verify_aud": False})
    except jwt.InvalidTokenError:
        abort(401)
    if scheme != "Bearer" or redis.exists(f"jti:{claims['jti']}"):
        abort(401)
    return str(claims["sub"])


def answer(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, content_type="application/json")


@app.get(f"{BOOKS}<uuid:book_id>")
def get_book(book_id: UUID) -> Response:
    user_id()
    row = execute(GET_ONE, (str(book_id),)).fetchone() or abort(404)
    return answer(dict(zip(NAMES, row)))  # noqa: B905  # strict costs


@app.get(BOOKS)
def list_books() -> Response:
    user_id()
    rows = execute(GET_20).fetchall()[:20]
    return answer([dict(zip(NAMES, row)) for row in rows])  # noqa: B905  # strict costs


@app.post(BOOKS)
def create_book() -> Response:
    owner = user_id()
    try:
        book = orjson.loads(request.get_data())
    except orjson.JSONDecodeError:
        abort(400)
    if not all(isinstance(book.get(name), str) for name in ("title", "author")):
        abort(422)
    values = (str(uuid4()), *(book.get(name) for name in INPUT), owner)
    return answer(dict(zip(NAMES, execute(POST, values).fetchone())), 201)  # noqa: B905  # strict costs
