"""JSON in and out through orjson, and the rules that hold for every request's input."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn

import orjson
from flask import Flask, Request, Response, request
from flask.json.provider import JSONProvider
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from books_api.observability.requests import current_request
from books_api.web.problems import NOT_AN_OBJECT, InvalidInput, Message

DUMP_OPTIONS = orjson.OPT_UTC_Z
PARAMETERS_MAX = 100
MERGE_PATCH = ("application/json", "application/merge-patch+json")  # read alike (RFC 7396)
ACCEPT_PATCH = {"Accept-Patch": ", ".join(MERGE_PATCH)}


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


class UnsupportedBody(UnsupportedMediaType):
    """A body that is not read; the headers name what is (RFC 5789, 2.2; RFC 9110, 15.5.16)."""

    def __init__(self, description: str, headers: Mapping[str, str]) -> None:
        super().__init__(description)
        self.headers = headers

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), *self.headers.items()]


def check_body(req: Request, *media_types: str, codings: tuple[str, ...] = ()) -> None:
    """Raise UnsupportedMediaType for a body of another media type or content coding."""
    # Nearly all name it without parameters, which take long to read. Asked of the environ: a
    # property of a header takes as long as all the rest.
    given, coding = req.environ.get("CONTENT_TYPE"), req.environ.get("HTTP_CONTENT_ENCODING")
    if given not in media_types and req.mimetype not in media_types:
        detail = f"The body must be sent as {' or '.join(media_types)}."
        raise UnsupportedBody(detail, ACCEPT_PATCH if req.method == "PATCH" else {})
    if (coding or "identity").lower() not in ("identity", *codings):
        allowed = f" other than {' or '.join(codings)}" if codings else ""
        detail = f"The body must be sent without a Content-Encoding{allowed}."
        raise UnsupportedBody(detail, {"Accept-Encoding": ", ".join((*codings, "identity"))})


def check_end(req: Request, size: int) -> None:
    """Raise RequestEntityTooLarge if werkzeug cut a body of this size off at the limit."""
    at_limit = size == req.max_content_length and req.content_length is None
    if at_limit and req.environ["wsgi.input"].read(1):
        raise RequestEntityTooLarge


@cache
def _defaults(schema: Schema) -> dict[str, Any]:
    return dict(schema.load({}))


class Parser(FlaskParser):
    """Webargs with a strict body (415, 400) and a strict query string (422)."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": None, "query": RAISE}

    def parse(self, argmap: Any, req: Request | None = None, **kwargs: Any) -> Any:
        """Parse as webargs does, whose detours a JSON body and an empty query string are spared."""
        location = kwargs.get("location")
        if location == "query" and not request.query_string:
            return dict(_defaults(argmap))
        if location == "json":
            try:
                return argmap.load(self.load_json(current_request(), argmap))
            except ValidationError as error:
                raise InvalidInput(error.messages_dict, location) from None
        try:
            return super().parse(argmap, req, **kwargs)
        except UnicodeDecodeError:  # raw bytes in the query string, from a careless client
            raise BadRequest("The query string is not UTF-8.") from None

    def load_json(self, req: Request, schema: Schema) -> Any:
        check_body(req, *(MERGE_PATCH if req.method == "PATCH" else MERGE_PATCH[:1]))
        body = req.get_data(cache=False)
        check_end(req, len(body))
        if not body:
            raise BadRequest("The body is empty; it must be a JSON object.")
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            # Not UTF-8, nested too deep, NaN or a lone surrogate: orjson has one class for all.
            raise BadRequest(f"The body is not valid JSON: {error}.") from None
        if not isinstance(data, dict):
            raise InvalidInput(NOT_AN_OBJECT)
        return data

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        if req.query_string.count(b"&") >= PARAMETERS_MAX:
            raise BadRequest(f"The query string has more than {PARAMETERS_MAX} parameters.")
        repeated = {
            name: [Message("repeated-parameter", "Must be given once only.")]
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
    """Make orjson the application's JSON, and let OPTIONS name what PATCH reads (RFC 5789, 3.1)."""
    app.json = ORJSONProvider(app)
    answer_options = app.make_default_options_response

    def describe_patch() -> Response:
        response = answer_options()
        if "PATCH" in response.allow:
            response.headers.update(ACCEPT_PATCH)
        return response

    app.make_default_options_response = describe_patch  # type: ignore[method-assign]
