"""/openapi.json, made once at start from the routes and their schemas, and the page at /docs."""

import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_instance
from flask import Flask

from books_api.extensions import api
from books_api.web.problems import TYPES, Problem

IDEMPOTENCY_KEY = r'[!#-~]([ -~]{0,253}[!-~])?|"[ -~]{1,255}"'  # as it is, or in quotes
INTRODUCTION = Path(__file__).parent / "docs" / "introduction.md"

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
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901)."},
                    "parameter": {"type": "string", "description": "Name of a query parameter."},
                    "header": {"type": "string", "description": "Name of a request header."},
                    "detail": {"type": "string"},
                },
            },
        },
        "current": {
            "$ref": "#/components/schemas/Book",
            "description": "With 412: the book as it is now.",
        },
    },
}
HEADERS = {
    "ETag": {
        "description": "Entity tag of the version.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "Where the new resource is.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Link": {
        "description": 'The next page: `<...>; rel="next"` (RFC 8288); absent on the last.',
        "schema": {"type": "string"},
    },
    "X-Total-Count": {
        "description": "How many there are, on all pages; with `count=true`.",
        "schema": {"type": "integer"},
    },
    "WWW-Authenticate": {
        "description": "RFC 6750.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "`true` when this is the answer to an earlier request.",
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
        "description": "Seconds to wait; only where what is in the way is still running.",
        "schema": {"type": "integer"},
    }
}
REQUEST_HEADERS = {
    "Idempotency-Key": {
        "description": "Makes the request safe to send again: a new random value for each book.",
        "schema": {"type": "string", "pattern": f"^({IDEMPOTENCY_KEY})$"},
    },
    "If-Match": {
        "description": "Only when the book still has one of these entity tags.",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "description": "Only when the book no longer has one of these entity tags.",
        "schema": {"type": "string"},
    },
}
JSON_LINE = '{"title": "The Hobbit", "author": "J. R. R. Tolkien", "isbn": "9780261102217"}\n'
# What can be sent where no schema describes the body.
CATALOGUES = {
    "text/csv": "Title,Author,ISBN\nThe Hobbit,J. R. R. Tolkien,9780261102217\n",
    "application/x-ndjson": JSON_LINE,
    "application/jsonl": JSON_LINE,
}
ERROR_HEADERS = {401: "WWW-Authenticate", 412: "ETag", 429: "Retry-After", 503: "Retry-After"}

ANSWERS = {
    "AccessToken",
    "Book",
    "ImportOutcome",
    "ImportReport",
    "LoginAnswer",
    "LoginUser",
    "Me",
    "Message",
    "ScriptToken",
    "Session",
    "TokenPair",
    "User",
}

View = TypeVar("View", bound=Callable[..., Any])


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


def problems(*statuses: int) -> Callable[[View], View]:
    """Document errors of a view that its decorators and its path do not imply."""
    return _note("problems", statuses)


def request_body(*content_types: str) -> Callable[[View], View]:
    """Document a body that no schema describes."""
    return _note("request_body", content_types)


def response_body(*content_types: str) -> Callable[[View], View]:
    """Document an answer that no schema describes."""
    return _note("response_body", content_types)


def request_headers(*names: str) -> Callable[[View], View]:
    """Document which of REQUEST_HEADERS a view reads."""
    return _note("request_headers", names)


def _note(attribute: str, values: tuple[Any, ...]) -> Callable[[View], View]:
    def decorator(view: View) -> View:
        setattr(view, attribute, (*getattr(view, attribute, ()), *values))
        return view

    return decorator


def spec_options() -> dict[str, Any]:
    """Return what apispec is told of the API as a whole."""
    return {
        "info": {"description": INTRODUCTION.read_text("utf-8")},
        "marshmallow_plugin": MarshmallowPlugin(schema_name_resolver=_schema_name),
    }


def _schema_name(schema: Any) -> str:
    instance = resolve_schema_instance(schema)
    name = type(instance).__name__.removesuffix("Schema")
    return name.removesuffix("Input") + "Update" if instance.partial else name


def make_document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document, with what the routes do not say of themselves."""
    document: dict[str, Any] = api.spec.to_dict()
    document["tags"] = [tag for tag in document["tags"] if tag["description"]]
    components = document["components"]
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token; at `/auth/refresh-token` a refresh token.",
        }
    }
    components["headers"] = HEADERS
    components["parameters"] = {
        name: {"name": name, "in": "header", **header} for name, header in REQUEST_HEADERS.items()
    }
    for unused in ("Error", "PaginationMetadata"):
        components["schemas"].pop(unused, None)
    components["schemas"]["Problem"] = PROBLEM
    kinds = sorted(TYPES.values(), key=lambda kind: (kind.status, kind.name))
    components["responses"] = {
        f"Problem{status}": _error_response(status, list(of_status))
        for status, of_status in groupby(kinds, key=lambda kind: kind.status)
        if status not in (405, 500)  # of no documented operation
    }
    for rule in app.url_map.iter_rules():
        item = document["paths"].get(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), {})
        for method in rule.methods or ():
            if method.lower() in item:
                _complete(item[method.lower()], app.view_functions[rule.endpoint], rule.rule)
    _require_what_is_always_there(components["schemas"])
    components["schemas"]["Profile"]["dependentRequired"] = {"email": ["current_password"]}
    return document


def _complete(operation: dict[str, Any], view: Any, rule: str) -> None:
    operation["operationId"] = view.__name__
    responses = operation["responses"]
    statuses = {503, *(int(status) for status in responses if str(status).isdigit())}
    if hasattr(view, "token_types"):
        operation["security"] = [{"bearer": []}]
        statuses |= {401, 403}
    if hasattr(view, "request_body"):
        content = {
            name: {"schema": {"type": "string", "format": "binary"}, "example": CATALOGUES[name]}
            for name in view.request_body
        }
        operation["requestBody"] = {"required": True, "content": content}
    if hasattr(view, "response_body"):
        content = {name: {"schema": {"type": "string"}} for name in view.response_body}
        responses["200"]["content"] = content
    if "requestBody" in operation:
        statuses |= {400, 413, 415, 422}
    if "<" in rule:
        statuses.add(404)
    statuses |= set(getattr(view, "problems", ()))
    headers = getattr(view, "request_headers", ())
    if headers:
        parameters = operation.setdefault("parameters", [])
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in headers]
    if "If-None-Match" in headers:
        etag = {"ETag": {"$ref": "#/components/headers/ETag"}}
        responses["304"] = {"description": "You have the current version.", "headers": etag}
        statuses.add(304)
    operation["responses"] = {
        str(status): responses[str(status)]
        if status < 400
        else {"$ref": f"#/components/responses/Problem{status}"}
        for status in sorted(statuses)
    }
    if view.__name__ in LINKS:
        success = operation["responses"][str(min(statuses))]
        success["links"] = {
            target: {"operationId": target, **members}
            for target, members in LINKS[view.__name__].items()
        }


def _require_what_is_always_there(schemas: dict[str, Any]) -> None:
    # Answers have all of their members, and may get more; marshmallow knows only requests.
    for name, schema in schemas.items():
        if name in ANSWERS:
            schema["required"] = list(schema["properties"])
            schema.pop("additionalProperties", None)
            for member in schema["properties"].values():
                member.pop("readOnly", None)


def _error_response(status: int, kinds: list[type[Problem]]) -> dict[str, Any]:
    examples = {
        kind.name: {
            "value": {
                "type": f"/problems/{kind.name}",
                "title": kind.title,
                "status": status,
                "detail": kind.detail or kind.meaning(),
                "instance": "/api/v1.0.0/books/",
                "request_id": "a1a3ff46bbf04a7bd1a3ad19dd3a3e5c",
            }
        }
        for kind in kinds
    }
    response: dict[str, Any] = {
        "description": " ".join(f"`{kind.name}`: {kind.meaning()}" for kind in kinds),
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": examples,
            }
        },
    }
    if status in ERROR_HEADERS:
        name = ERROR_HEADERS[status]
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"}}
    if status == 409:
        response["headers"] = STILL_RUNNING
    return response
