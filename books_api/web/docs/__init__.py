"""/openapi.json, what leads to it, the page at /docs, and one for each type of problem."""

from html import escape
from importlib.resources import files
from pathlib import Path

import orjson
from flask import Blueprint, Flask, Response, current_app, send_from_directory
from werkzeug.exceptions import NotFound

from books_api.web.openapi import make_document
from books_api.web.pagination import absolute_url
from books_api.web.problems import TYPES

HERE = Path(__file__).parent
SWAGGER_UI = Path(str(files("flask_swagger_ui"))) / "dist"
# Swagger UI sets style attributes; everything else comes from this server.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)

INTRODUCTION = HERE / "introduction.md"
LINKSET = 'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"'
LINK = (
    '</openapi.json>; rel="service-desc", </docs>; rel="service-doc",'
    ' </.well-known/api-catalog>; rel="api-catalog"'
)

PROBLEM = (HERE / "problem.html").read_text("utf-8")

blueprint = Blueprint("docs", __name__)


@blueprint.get("/")
def index() -> Response:
    return Response(status=302, headers={"Location": "/docs"})


@blueprint.get("/.well-known/api-catalog")
def api_catalog() -> Response:
    """Say where the API, its document, its documentation and its state are (RFC 9727)."""
    links = {"service-desc": "/openapi.json", "service-doc": "/docs", "status": "/readyz"}
    targets = {name: [{"href": absolute_url(path)}] for name, path in links.items()}
    linkset = {"linkset": [{"anchor": absolute_url("/"), **targets}]}
    return Response(orjson.dumps(linkset), content_type=LINKSET)


@blueprint.get("/openapi.json")
def openapi_json() -> Response:
    return Response(current_app.extensions["openapi"], content_type="application/json")


@blueprint.get("/docs")
def docs() -> Response:
    response = Response((HERE / "index.html").read_bytes(), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


@blueprint.get("/docs/introduction.md")
def docs_introduction() -> Response:
    text = current_app.extensions["introduction"]
    return Response(text, content_type="text/markdown; charset=utf-8")


@blueprint.get("/docs/start.js")
def docs_start() -> Response:
    return Response((HERE / "start.js").read_bytes(), content_type="text/javascript; charset=utf-8")


@blueprint.get("/docs/assets/<path:name>")
def docs_assets(name: str) -> Response:
    return send_from_directory(SWAGGER_UI, name, max_age=86_400)


@blueprint.after_request
def lead_to_document(response: Response) -> Response:
    response.headers["Link"] = LINK
    return response


@blueprint.get("/problems/<name>")
def problem_page(name: str) -> Response:
    """Say what a type of problem means and what to do."""
    kind = TYPES.get(name)
    if kind is None:
        raise NotFound
    said = {member: escape(str(value)) for member, value in kind._asdict().items()}
    return Response(PROBLEM.format(name=name, **said), content_type="text/html; charset=utf-8")


def init_app(app: Flask) -> None:
    """Serve the document and the page; after every blueprint is registered."""
    app.register_blueprint(blueprint)
    types = ", ".join(f"[{name}](/problems/{name})" for name in sorted(TYPES))
    introduction = INTRODUCTION.read_text("utf-8").replace("{problem_types}", types)
    app.extensions["introduction"] = introduction
    app.extensions["openapi"] = orjson.dumps(make_document(), option=orjson.OPT_INDENT_2)
