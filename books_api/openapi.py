"""/openapi.json, made once at start from the routes and their schemas, and the page at /docs."""

import re
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import orjson
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_instance
from flask import Blueprint, Flask, Response, current_app, send_from_directory

from books_api.extensions import api

HERE = Path(__file__).parent / "docs"
SWAGGER_UI = Path(str(files("flask_swagger_ui"))) / "dist"
# Swagger UI sets style attributes; everything else comes from this server.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)

blueprint = Blueprint("docs", __name__)

PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "examples": ["about:blank"]},
        "title": {"type": "string", "examples": ["Unprocessable Entity"]},
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
    "ETag": {"description": "Entity tag of the version.", "schema": {"type": "string"}},
    "Location": {
        "description": "Where the new resource is.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Link": {
        "description": 'The next page: `<...>; rel="next"` (RFC 8288); absent on the last.',
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
}
ERRORS = {
    400: "The body is not valid JSON.",
    401: "No token, or one that is malformed, expired or revoked; or wrong credentials.",
    403: "Wrong role, not the owner, or a read-only token.",
    404: "There is no such resource.",
    409: "Taken by another, or against a rule of the whole.",
    412: "The book has changed since you read it.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not sent as application/json.",
    422: "A field or a query parameter is wrong.",
    429: "Too many requests.",
    503: "Postgres or Redis is away, or busy.",
}
ERROR_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}


View = TypeVar("View", bound=Callable[..., Any])


def problems(*statuses: int) -> Callable[[View], View]:
    """Document errors of a view that its decorators and its path do not imply."""

    def decorator(view: View) -> View:
        view.problems = (*getattr(view, "problems", ()), *statuses)  # type: ignore[attr-defined]
        return view

    return decorator


def spec_options() -> dict[str, Any]:
    """Return what apispec is told of the API as a whole."""
    return {
        "info": {"description": (HERE / "introduction.md").read_text("utf-8")},
        "marshmallow_plugin": MarshmallowPlugin(schema_name_resolver=_schema_name),
    }


def _schema_name(schema: Any) -> str:
    instance = resolve_schema_instance(schema)
    name = type(instance).__name__.removesuffix("Schema")
    return f"{name}Update" if instance.partial else name


def make_document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document, with what the routes do not say of themselves."""
    document: dict[str, Any] = api.spec.to_dict()
    components = document["components"]
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    components["headers"] = HEADERS
    for unused in ("Error", "PaginationMetadata"):
        components["schemas"].pop(unused, None)
    components["schemas"]["Problem"] = PROBLEM
    components["responses"] = {
        HTTPStatus(status).name: _error_response(status) for status in ERRORS
    }
    for rule in app.url_map.iter_rules():
        item = document["paths"].get(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), {})
        for method in rule.methods or ():
            if method.lower() in item:
                _complete(item[method.lower()], app.view_functions[rule.endpoint], rule.rule)
    return document


def _complete(operation: dict[str, Any], view: Any, rule: str) -> None:
    operation["operationId"] = view.__name__
    responses = operation["responses"]
    statuses = {503, *(int(status) for status in responses if str(status).isdigit())}
    if hasattr(view, "token_types"):
        operation["security"] = [{"bearer": []}]
        statuses |= {401, 403}
    if "requestBody" in operation:
        statuses |= {400, 413, 415, 422}
    if "<" in rule:
        statuses.add(404)
    statuses |= set(getattr(view, "problems", ()))
    operation["responses"] = {
        str(status): responses[str(status)]
        if status < 400
        else {"$ref": f"#/components/responses/{HTTPStatus(status).name}"}
        for status in sorted(statuses)
    }


def _error_response(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    if status in ERROR_HEADERS:
        name = ERROR_HEADERS[status]
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"}}
    return response


@blueprint.get("/openapi.json")
def openapi_json() -> Response:
    return Response(current_app.extensions["openapi"], content_type="application/json")


@blueprint.get("/docs")
def docs() -> Response:
    response = Response((HERE / "index.html").read_bytes(), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


@blueprint.get("/docs/start.js")
def docs_start() -> Response:
    return Response((HERE / "start.js").read_bytes(), content_type="text/javascript; charset=utf-8")


@blueprint.get("/docs/assets/<path:name>")
def docs_assets(name: str) -> Response:
    return send_from_directory(SWAGGER_UI, name, max_age=86_400)


def init_app(app: Flask) -> None:
    """Serve the document and the page; after every blueprint is registered."""
    app.register_blueprint(blueprint)
    app.extensions["openapi"] = orjson.dumps(make_document(app), option=orjson.OPT_INDENT_2)
