"""JSON in and out through orjson, and the rules that hold for every request's input."""

from functools import cache
from typing import Any, NoReturn

import orjson
from flask import Flask, Request, Response, request
from flask.json.provider import JSONProvider
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from books_api.web.problems import InvalidInput

DUMP_OPTIONS = orjson.OPT_UTC_Z
PARAMETERS_MAX = 100


class ORJSONProvider(JSONProvider):
    """Flask's JSON, by orjson: UUIDs and RFC 3339 timestamps as they are, NaN refused."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj, option=DUMP_OPTIONS).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Any:
        return Response(
            orjson.dumps(self._prepare_response_obj(args, kwargs), option=DUMP_OPTIONS),
            mimetype="application/json",
        )


@cache
def _defaults(schema: Schema) -> dict[str, Any]:
    return dict(schema.load({}))


class Parser(FlaskParser):
    """Webargs with a strict body (415, 400) and a strict query string (422)."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": None, "query": RAISE}

    def parse(self, argmap: Any, req: Request | None = None, **kwargs: Any) -> Any:
        """Parse as webargs does; an empty query string is answered from the defaults."""
        if kwargs.get("location") == "query" and not request.query_string:
            return dict(_defaults(argmap))
        try:
            return super().parse(argmap, req, **kwargs)
        except UnicodeDecodeError:  # raw bytes in the query string, from a careless client
            raise BadRequest("The query string is not UTF-8.") from None

    def load_json(self, req: Request, schema: Schema) -> Any:
        if req.mimetype != "application/json":
            raise UnsupportedMediaType("The body must be sent as application/json.")
        body = req.get_data(cache=False)
        if len(body) == req.max_content_length and req.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge  # werkzeug cuts a chunked body off there, silently
        if not body:
            raise BadRequest("The body is empty; it must be a JSON object.")
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            # Not UTF-8, nested too deep, NaN or a lone surrogate: orjson has one class for all.
            raise BadRequest(f"The body is not valid JSON: {error}.") from None
        if not isinstance(data, dict):
            raise InvalidInput(["Must be a JSON object."], "json")
        return data

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        if req.query_string.count(b"&") >= PARAMETERS_MAX:
            raise BadRequest(f"The query string has more than {PARAMETERS_MAX} parameters.")
        repeated = {
            name: ["Must be given once only."]
            for name, values in req.args.lists()
            if len(values) > 1
        }
        if repeated:
            raise InvalidInput(repeated, "query")
        return req.args.to_dict()

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Any,
    ) -> NoReturn:
        (location, messages), *_ = error.messages_dict.items()
        raise InvalidInput(messages, location)


def init_app(app: Flask) -> None:
    """Make orjson the application's JSON."""
    app.json = ORJSONProvider(app)
