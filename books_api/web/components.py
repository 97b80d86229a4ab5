"""What operations of the OpenAPI document refer to; docs/base.json has what is the same for all."""

import tomllib
from pathlib import Path
from typing import Any

import orjson

BASE: dict[str, Any] = orjson.loads(
    Path(__file__).with_name("docs").joinpath("base.json").read_bytes()
)
MEMBERS: dict[str, dict[str, list[Any]]] = tomllib.loads(
    Path(__file__).with_name("docs").joinpath("members.toml").read_text("utf-8")
)
IDEMPOTENCY_KEY = BASE["components"]["parameters"]["Idempotency-Key"]["schema"]["pattern"]
PATH_PARAMETERS = {
    "book_id": "`id` of the book.",
    "user_id": "`id` of the user.",
    "session_id": "`id` of the session, from the list of sessions.",
}
# By format or type, where a member has no example of its own.
EXAMPLES: dict[str, Any] = {
    "uuid": "0198a5a0-6a52-7c3d-9f7e-2b8f6d1c4e5a",
    "date-time": "2026-01-31T09:30:00.000000Z",
    "boolean": True,
    "int32": 1,
}


def header_refs(*names: str) -> dict[str, Any]:
    """Return references to headers of the document."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


PAGE = header_refs("Link", "X-Total-Count")
REPLAYED = header_refs("Idempotent-Replayed")
RATE_LIMIT = header_refs("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
OF_ERRORS = {
    401: header_refs("WWW-Authenticate"),
    409: {
        "Retry-After": {
            "description": "Seconds to wait; sent while an earlier request is still running.",
            "schema": {"type": "integer", "format": "int32"},
        }
    },
    412: header_refs("ETag"),
    429: header_refs("Retry-After", *RATE_LIMIT),
    503: header_refs("Retry-After"),
}

# What an answer leads to: operation, operation that may follow, what it takes from the answer.
USER = {"parameters": {"user_id": "$response.body#/id"}}
OWNER = {"parameters": {"user_id": "$response.body#/user_uid"}}
BOOK = {"parameters": {"book_id": "$response.body#/id"}}
FIRST_BOOK = {"parameters": {"book_id": "$response.body#/0/id"}}
SAME_BOOK = {"parameters": {"book_id": "$request.path.book_id"}}
SAME_VERSION = {"parameters": {**BOOK["parameters"], "If-Match": "$response.header.ETag"}}
LINKS: dict[str, dict[str, dict[str, Any]]] = {
    "signup": {"login": {}, "get_user": USER},
    "login": {"get_me": {}, "create_book": {}, "create_script_token": {}},
    "create_book": {
        "get_book": BOOK,
        "update_book": SAME_VERSION,
        "delete_book": SAME_VERSION,
        "list_books_of_user": OWNER,
    },
    "get_book": {"update_book": SAME_VERSION, "delete_book": SAME_VERSION},
    "update_book": {"get_book": BOOK, "delete_book": SAME_VERSION},
    "delete_book": {"get_book": SAME_BOOK},
    "list_books": {"get_book": FIRST_BOOK, "update_book": FIRST_BOOK},
    "create_script_token": {"end_session": {"parameters": {"session_id": "$response.body#/id"}}},
    "get_me": {"list_books_of_user": USER},
    "list_users": {"get_user": {"parameters": {"user_id": "$response.body#/0/id"}}},
    "get_user": {"update_user": USER, "list_books_of_user": USER},
}
