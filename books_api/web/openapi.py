"""/openapi.json: what the routes and schemas say, and docs/ for what they do not say."""

import json
import tomllib
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import flask_smorest
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_instance
from flask import Flask
from marshmallow import fields

from books_api.extensions import api
from books_api.web.pagination import LIMIT_MAX
from books_api.web.parsing import Parser
from books_api.web.problems import TYPES

View = TypeVar("View", bound=Callable[..., Any])
DOCS = Path(__file__).with_name("docs")
BASE: dict[str, Any] = json.loads((DOCS / "base.json").read_bytes())
OPERATIONS: dict[str, Any] = tomllib.loads((DOCS / "operations.toml").read_text("utf-8"))
MEMBERS: dict[str, Any] = tomllib.loads((DOCS / "members.toml").read_text("utf-8"))
EXAMPLES = OPERATIONS["examples"]
IDEMPOTENCY_KEY = BASE["components"]["parameters"]["Idempotency-Key"]["schema"]["pattern"]


def header_refs(*names: str) -> dict[str, Any]:
    """Return references to headers of the document."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


PAGE = header_refs("Link", "X-Total-Count")
REPLAYED = header_refs("Idempotent-Replayed")
RATE_LIMIT = header_refs("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def unwrapped(decorator: Callable[[View], View]) -> Callable[[View], View]:
    """Have a decorator of the library's, which only documents, leave the view as it is.

    It returns a wrapper that has the documentation among its attributes, and asks the proxy of the
    application at each request: four of them take a thirtieth of a read's instructions.
    """

    def document(view: View) -> View:
        documented = vars(decorator(view))
        vars(view).update({name: documented[name] for name in documented.keys() - {"__wrapped__"}})
        return view

    return document


def documented(**members: Any) -> Callable[[View], View]:
    """Document a view by members of its operation."""
    return unwrapped(flask_smorest.Blueprint.doc(**members))


def problems(*statuses: int) -> Callable[[View], View]:
    """Document errors of a view that its decorators and its path do not imply."""
    return documented(responses={str(status): f"Problem{status}" for status in statuses})


def request_headers(*names: str) -> Callable[[View], View]:
    """Document which of the document's request headers a view reads."""
    return documented(request_headers=names)


def init_app(app: Flask) -> None:
    """Make the document of the application; its blueprints are registered afterwards."""
    api.DEFAULT_ERROR_RESPONSE_NAME = None
    plugin: Any = MarshmallowPlugin(schema_name_resolver=_schema_name)
    api.init_app(app, spec_kwargs={**BASE, "marshmallow_plugin": plugin})
    plugin.map_to_openapi_type(fields.Integer, "integer", "int32")
    plugin.converter.add_attribute_function(_describe)


def _describe(converter: Any, field: Any, **kwargs: Any) -> dict[str, Any]:
    """Return what MEMBERS says of a field, or of the one of its name that the schema inherits."""
    for kind in type(field.parent).__mro__:
        if field.name in (members := MEMBERS.get(kind.__name__, {})):
            description, *examples = members[field.name]
            return {"description": description, **({"examples": examples} if examples else {})}
    return {}


def _schema_name(schema: Any) -> str:
    return type(resolve_schema_instance(schema)).__name__.removesuffix("Schema")


class Blueprint(flask_smorest.Blueprint):
    """flask-smorest's, with strict input, and views named as their operations."""

    ARGUMENTS_PARSER = Parser()

    def answers(self, *args: Any, **kwargs: Any) -> Callable[[View], View]:
        """Document, as response() does, a view that returns a Response."""
        return unwrapped(self.response(*args, **kwargs))

    def alt_response(self, *args: Any, **kwargs: Any) -> Callable[[View], View]:
        return unwrapped(super().alt_response(*args, **kwargs))

    def register_views_in_doc(self, *args: Any, **kwargs: Any) -> None:
        for endpoint, docs in self._docs.items():
            for method in docs.keys() - {"parameters"}:
                docs[method].setdefault("manual_doc", {})["operationId"] = endpoint
        super().register_views_in_doc(*args, **kwargs)


def make_document() -> dict[str, Any]:
    """Return the OpenAPI document, with what the routes do not say of themselves."""
    document: dict[str, Any] = api.spec.to_dict()
    document["tags"] = [tag for tag in document["tags"] if tag["description"]]
    components = document["components"]
    for unused in ("Error", "PaginationMetadata"):
        components["schemas"].pop(unused, None)
    kinds = sorted(TYPES, key=lambda name: (TYPES[name].status, name))
    components["responses"] = {
        f"Problem{status}": _error_response(status, list(of_status))
        for status, of_status in groupby(kinds, key=lambda name: TYPES[name].status)
        if status not in (405, 500)  # of no documented operation
    }
    for path, item in document["paths"].items():
        for parameter in item.get("parameters", []):
            parameter["description"] = OPERATIONS["path_parameters"][parameter["name"]]
            parameter["schema"]["examples"] = [EXAMPLES["uuid"]]
        for operation in item.values():
            if isinstance(operation, dict):
                _complete(operation, path, components["schemas"])
    return document


def _complete(operation: dict[str, Any], path: str, schemas: dict[str, Any]) -> None:
    headers = operation.pop("request_headers", ())
    parameters = operation.setdefault("parameters", [])
    statuses = {503: True, 404: "{" in path, 422: bool(parameters)}
    statuses |= dict.fromkeys((401, 403), "security" in operation)
    statuses |= dict.fromkeys((400, 413, 415, 422), True) if "requestBody" in operation else {}
    operation.setdefault("security", [])
    for parameter in parameters:
        parameter["schema"].setdefault("examples", [_example(parameter["schema"], schemas)])
    parameters += [{"$ref": f"#/components/parameters/{name}"} for name in headers]
    responses = operation["responses"]
    responses |= {
        str(status): {"$ref": f"#/components/responses/Problem{status}"}
        for status, possible in statuses.items()
        if possible
    }
    operation["responses"] = {status: responses[status] for status in sorted(responses)}
    success = responses[min(responses)]
    if operation.pop("rate_limited", False):
        success["headers"] = {**success.get("headers", {}), **RATE_LIMIT}
    if links := OPERATIONS["links"].get(operation["operationId"]):
        success["links"] = {
            target: {"operationId": target, **({"parameters": taken} if taken else {})}
            for target, taken in links.items()
        }
    for message in (operation.get("requestBody", {}), success):
        for content in message.get("content", {}).values():
            if content["schema"].get("type") == "array":
                content["schema"]["maxItems"] = LIMIT_MAX
            content.setdefault("example", _example(content["schema"], schemas))


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return an example made of those of the members, or of their types."""
    schema = schema.get("anyOf", [schema])[0]  # or null
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if examples := schema.get("examples") or schema.get("enum"):
        return examples[0]
    if "properties" in schema:
        return {name: _example(part, schemas) for name, part in schema["properties"].items()}
    if "items" in schema:
        return [_example(schema["items"], schemas)]
    return EXAMPLES.get(schema.get("format") or str(schema["type"]), "text")


def _error_response(status: int, names: list[str]) -> dict[str, Any]:
    examples = {
        name: {
            "value": {
                "type": f"/problems/{name}",
                "title": TYPES[name].title,
                "status": status,
                "detail": TYPES[name].detail or TYPES[name].meaning,
                "instance": "/api/v1.0.0/books/",
                "request_id": "a1a3ff46bbf04a7bd1a3ad19dd3a3e5c",
            }
        }
        for name in names
    }
    return {
        "description": " ".join(f"`{name}`: {TYPES[name].meaning}" for name in names),
        "headers": OPERATIONS["error_headers"].get(str(status), {}),
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": examples,
            }
        },
    }
