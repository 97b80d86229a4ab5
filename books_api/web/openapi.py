"""/openapi.json, made once at start from the routes and their schemas, and the page at /docs."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, cast

import flask_smorest
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_instance

from books_api.extensions import api
from books_api.web.components import (
    ERROR_HEADERS,
    HEADERS,
    LINKS,
    PROBLEM,
    REQUEST_HEADERS,
    STILL_RUNNING,
)
from books_api.web.parsing import Parser
from books_api.web.problems import TYPES, Problem

INTRODUCTION = Path(__file__).parent / "docs" / "introduction.md"


View = TypeVar("View", bound=Callable[..., Any])


def problems(*statuses: int) -> Callable[[View], View]:
    """Document errors of a view that its decorators and its path do not imply."""
    return _doc(responses={str(status): f"Problem{status}" for status in statuses})


def request_headers(*names: str) -> Callable[[View], View]:
    """Document which of REQUEST_HEADERS a view reads."""
    return _doc(parameters=list(names))


def bearer_required(view: View) -> View:
    """Document that the view wants a bearer token."""
    return _doc(security=[{"bearer": []}])(view)


def _doc(**members: Any) -> Callable[[View], View]:
    # The library's has no types.
    return cast(Callable[[View], View], flask_smorest.Blueprint.doc(**members))


def spec_options() -> dict[str, Any]:
    """Return apispec's options for the whole API."""
    return {
        "info": {"description": INTRODUCTION.read_text("utf-8")},
        "marshmallow_plugin": MarshmallowPlugin(schema_name_resolver=_schema_name),
    }


def _schema_name(schema: Any) -> str:
    return type(resolve_schema_instance(schema)).__name__.removesuffix("Schema")


class Blueprint(flask_smorest.Blueprint):
    """flask-smorest's, with strict input, and with what an operation's form says of it."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(self._prepare_implied_doc)

    def register_views_in_doc(self, *args: Any, **kwargs: Any) -> None:
        for endpoint, docs in self._docs.items():
            for method in docs.keys() - {"parameters"}:
                docs[method].setdefault("manual_doc", {})["operationId"] = endpoint
        super().register_views_in_doc(*args, **kwargs)

    @staticmethod
    def _prepare_implied_doc(
        doc: dict[str, Any], doc_info: dict[str, Any], **_: Any
    ) -> dict[str, Any]:
        manual = doc_info["manual_doc"]
        # The library lets these replace those of arguments().
        parameters = [*doc.get("parameters", []), *manual.pop("parameters", [])]
        if parameters:
            doc["parameters"] = parameters
        statuses = [503]
        if "security" in manual:
            statuses += [401, 403]
        if "requestBody" in doc or "requestBody" in manual:
            statuses += [400, 413, 415, 422]
        statuses += [422] * ("parameters" in doc_info.get("arguments", {}))
        answers = {str(s): answer for s, answer in doc["responses"].items() if str(s) < "4"}
        doc["responses"] = answers | {str(status): f"Problem{status}" for status in statuses}
        return doc


def make_document() -> dict[str, Any]:
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
    components["schemas"]["Profile"]["dependentRequired"] = {"email": ["current_password"]}
    kinds = sorted(TYPES.values(), key=lambda kind: (kind.status, kind.name))
    components["responses"] = {
        f"Problem{status}": _error_response(status, list(of_status))
        for status, of_status in groupby(kinds, key=lambda kind: kind.status)
        if status not in (405, 500)  # of no documented operation
    }
    for path, item in document["paths"].items():
        for operation in item.values():
            if isinstance(operation, dict):
                _complete(operation, path)
    return document


def _complete(operation: dict[str, Any], path: str) -> None:
    responses = operation["responses"]
    if "{" in path:
        responses["404"] = {"$ref": "#/components/responses/Problem404"}
    operation["responses"] = {status: responses[status] for status in sorted(responses)}
    if operation["operationId"] in LINKS:
        success = responses[min(responses)]
        success["links"] = {
            target: {"operationId": target, **members}
            for target, members in LINKS[operation["operationId"]].items()
        }


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
