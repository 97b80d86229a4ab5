"""What operations of the OpenAPI document refer to: the problem, headers, and links."""

from typing import Any

IDEMPOTENCY_KEY = r'[!#-~]([ -~]{0,253}[!-~])?|"[ -~]{1,255}"'  # as it is, or in quotes
# Of `errors`: what is wrong with a value.
CODES = (
    *("required", "null", "unknown-field", "unknown-parameter", "repeated-parameter"),
    *("not-an-object", "not-a-string", "not-a-whole-number", "not-a-boolean", "not-a-uuid"),
    *("not-an-email", "not-a-date", "not-an-isbn", "check-digit", "not-a-choice", "out-of-range"),
    *("too-long", "too-short", "empty", "not-storable", "too-many-marks", "not-a-cursor"),
    *("not-a-key", "not-a-timestamp", "read-only", "invalid"),
)

PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "examples": ["/problems/validation"]},
        "title": {"type": "string", "examples": ["Invalid input"]},
        "status": {"type": "integer", "examples": [422]},
        "detail": {"type": "string", "examples": ["title: Is required."]},
        "instance": {"type": "string", "format": "uri-reference"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901)."},
                    "parameter": {"type": "string", "description": "Name of a query parameter."},
                    "header": {"type": "string", "description": "Name of a request header."},
                    "code": {
                        "type": "string",
                        "examples": ["required"],
                        "description": f"Stable, for programs: {', '.join(CODES)}, ...; or the name"
                        " of the problem type.",
                    },
                    "detail": {"type": "string", "description": "A sentence for people."},
                },
            },
        },
        "current": {
            "$ref": "#/components/schemas/Book",
            "description": "With status 412: the current book.",
        },
    },
}
HEADERS = {
    "ETag": {
        "description": "Entity tag of the book's current version, for If-Match.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "URL of the new resource.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Link": {
        "description": 'The next page: `<...>; rel="next"` (RFC 8288); absent on the last page.',
        "schema": {"type": "string"},
    },
    "X-Total-Count": {
        "description": "Number of matches on all pages; sent with `count=true`.",
        "schema": {"type": "integer"},
    },
    "WWW-Authenticate": {
        "description": "Challenge of the Bearer scheme (RFC 6750).",
        "required": True,
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "`true` when this repeats the answer to an earlier request.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {
        "description": "Seconds to wait.",
        "required": True,
        "schema": {"type": "integer"},
    },
}
PAGE = {name: {"$ref": f"#/components/headers/{name}"} for name in ("Link", "X-Total-Count")}
STILL_RUNNING = {
    "Retry-After": {
        "description": "Seconds to wait; sent when an earlier request is still running.",
        "schema": {"type": "integer"},
    }
}
REQUEST_HEADERS = {
    "Idempotency-Key": {
        "description": "Makes the request safe to retry. Use a new random value for each request.",
        "schema": {"type": "string", "pattern": f"^({IDEMPOTENCY_KEY})$"},
    },
    "If-Match": {
        "description": "Proceed only if the book has one of these entity tags.",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "description": "Return the book only if it has none of these entity tags.",
        "schema": {"type": "string"},
    },
}
ERROR_HEADERS = {401: "WWW-Authenticate", 412: "ETag", 429: "Retry-After", 503: "Retry-After"}

# What an answer leads to: operation, operation that may follow, what it takes from the answer.
CREDENTIALS = {"email": "$request.body#/email", "password": "$request.body#/password"}
USER = {"parameters": {"user_id": "$response.body#/id"}}
OWNER = {"parameters": {"user_id": "$response.body#/user_uid"}}
BOOK = {"parameters": {"book_id": "$response.body#/id"}}
FIRST_BOOK = {"parameters": {"book_id": "$response.body#/0/id"}}
SAME_BOOK = {"parameters": {"book_id": "$request.path.book_id"}}
SAME_VERSION = {"parameters": {**BOOK["parameters"], "If-Match": "$response.header.ETag"}}
LINKS: dict[str, dict[str, dict[str, Any]]] = {
    "signup": {"login": {"requestBody": CREDENTIALS}, "get_user": USER},
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
