"""What no schema can tell Schemathesis: who sends a request, passwords, cursors, formats.

`schemathesis run` loads it, with the server's own settings in the environment.
"""

import os
from collections.abc import MutableMapping
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID, uuid4

import schemathesis
from flask import Flask
from hypothesis import strategies as st
from schemathesis import AuthContext, Case, HookContext, Response
from stdnum import ean, isbn
from werkzeug.security import generate_password_hash

from books_api import create_app
from books_api.auth import resets, sessions
from books_api.auth.models import User
from books_api.books.schemas import ISBN_PATTERN, PARTIAL_DATE_PATTERN
from books_api.catalogues.routes import FILES
from books_api.extensions import db
from tests.conftest import PASSWORD

# These end the session, or the account: each time an account of its own sends them.
ENDS_ITSELF = {"change_password", "delete_me", "logout", "logout_all", "rotate_refresh_token"}
ENDS_OTHERS = {"end_session", "update_user"}
TAKES_REFRESH_TOKEN = {"get_access_token", "rotate_refresh_token"}
URL_MAX = 8_000  # RFC 9112, 3
TAKES_BOOK = {"get_book", "update_book", "delete_book"}
SERVER_DECIDES = ("id", "user_uid", "version", "created_at", "updated_at")


class Pair(NamedTuple):
    access_token: str
    refresh_token: str


class Accounts:
    """The users of the run, made in the database: a password is hashed once."""

    def __init__(self, app: Flask, role: str) -> None:
        self.app, self.role = app, role
        self.password_hash = generate_password_hash(PASSWORD, "scrypt:1024:8:1")
        self.pairs: dict[UUID, Pair] = {}
        self.principal = self.add(role)
        self.author = self.add() if role == "admin" else self.principal

    def add(self, role: str = "user") -> UUID:
        """Add a user with a session, and return its id."""
        name = uuid4().hex
        email = f"{name}@example.com"
        user = User(username=name, email=email, password_hash=self.password_hash, role=role)
        with self.app.app_context():
            db.session.add(user)
            db.session.flush()
            self._open_session(user)
        return user.id

    def tokens(self, user_id: UUID) -> Pair:
        """Return tokens that are good, whatever the run has done to the user."""
        if user_id not in self.pairs:
            with self.app.app_context():
                user = db.session.get_one(User, user_id)
                user.role = self.role if user_id == self.principal else "user"
                user.is_active = True
                self._open_session(user)
        return self.pairs[user_id]

    def reset_token(self) -> str:
        user_id = self.add()
        with self.app.app_context():
            return resets.make_reset_token(db.session.get_one(User, user_id))

    def _open_session(self, user: User) -> None:
        pair = sessions.open_session(user, user_agent="contract")
        db.session.commit()
        self.pairs[user.id] = Pair(pair.access_token, pair.refresh_token)


class Scenario:
    """What earlier requests have made that later ones can use."""

    def __init__(self) -> None:
        self.logged_in: UUID | None = None
        self.credentials: dict[str, str] = {}
        self.owners: dict[str, UUID] = {}
        self.taken: set[str] = set()
        self.next_pages: dict[str, dict[str, str]] = {}


ROLE = os.environ["CONTRACT_ROLE"]
accounts = Accounts(create_app(), ROLE)
scenario = Scenario()


def operation_id(case: Case) -> str:
    return str(case.operation.definition.raw["operationId"])


def is_stateful(case: Case) -> bool:
    return case.meta is not None and case.meta.phase.name == "stateful"


@schemathesis.auth(refresh_interval=None)
class Bearer:
    def get(self, case: Case, context: AuthContext) -> str | None:
        if not context.operation.definition.raw["security"]:
            return None
        pair = accounts.tokens(self.sender(case))
        refreshes = operation_id(case) in TAKES_REFRESH_TOKEN
        return pair.refresh_token if refreshes else pair.access_token

    def sender(self, case: Case) -> UUID:
        operation = operation_id(case)
        if operation in ENDS_ITSELF:
            return accounts.add()
        if operation == "create_book":  # an admin changes the books of others
            return (is_stateful(case) and scenario.logged_in) or accounts.author
        if is_stateful(case) and operation in TAKES_BOOK and ROLE == "user":
            return scenario.owners.get(str(case.path_parameters["book_id"]), accounts.principal)
        return accounts.principal

    def set(self, case: Case, data: str, context: AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def filter_case(context: HookContext, case: Case) -> bool:
    """Drop what never reaches the application: a server in front answers with 414."""
    return len(case.formatted_path) + len(urlencode(case.query)) < URL_MAX


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Put into a request that is valid in its form what only this run can know."""
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    operation = operation_id(case)
    if isinstance(case.body, dict):
        if "current_password" in case.body:
            case.body["current_password"] = PASSWORD
        if operation == "reset_password":
            case.body["token"] = accounts.reset_token()
        if operation == "signup":
            make_unique(case.body)
        if operation == "update_book":
            for name in SERVER_DECIDES:  # what it says of them is known to no schema
                case.body.pop(name, None)
        if operation == "login" and is_stateful(case):
            case.body = scenario.credentials or case.body
    if operation == "import_books":
        for name in ("encoding", "map"):  # no schema names those that exist
            case.query.pop(name, None)
        case.body = FILES[str(case.media_type)]["example"]
    if "Idempotency-Key" in case.headers:
        make_key_unique(case.headers)
    if "cursor" in case.query:
        case.query.pop("cursor")
        case.query = scenario.next_pages.get(case.formatted_path, case.query)


def make_unique(body: dict[str, Any]) -> None:
    """Change a username and an email that an earlier sign-up of the run has taken."""
    for name, other in (("username", uuid4().hex), ("email", f"{uuid4().hex}@example.com")):
        if isinstance(body.get(name), str) and body[name].casefold() in scenario.taken:
            body[name] = other


def make_key_unique(headers: MutableMapping[str, str]) -> None:
    """Change an Idempotency-Key that was sent before: with another body it is refused."""
    if headers["Idempotency-Key"].strip('"') in scenario.taken:
        headers["Idempotency-Key"] = str(uuid4())
    scenario.taken.add(headers["Idempotency-Key"].strip('"'))


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    """Remember what later requests can use."""
    if case.method.upper() != context.operation.method.upper():
        return
    operation = operation_id(case)
    if "link" in response.headers:
        query = urlsplit(response.headers["link"][0].partition(">")[0]).query
        scenario.next_pages[case.formatted_path] = dict(parse_qsl(query))
    if response.status_code == 201 and operation == "signup":
        scenario.taken |= {case.body[name].casefold() for name in ("username", "email")}
        scenario.credentials = {name: case.body[name] for name in ("email", "password")}
    if response.status_code == 200 and operation == "login":
        body = response.json()
        scenario.logged_in = UUID(body["user"]["uid"])
        accounts.pairs[scenario.logged_in] = Pair(body["access_token"], body["refresh_token"])
    if response.status_code < 300 and operation in ENDS_OTHERS:
        accounts.pairs.clear()
    if response.status_code == 201 and operation == "create_book":
        book = response.json()
        scenario.owners[book["id"]] = UUID(book["user_uid"])


@schemathesis.serializer(*FILES.keys() - {"application/json"})
def as_text(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Send a text as it is, and for what is none, which no file can be, an empty file."""
    return value.encode() if isinstance(value, str) else b""


def make_isbn(number: int, short: bool, length: int) -> str:
    """Return an ISBN of 10 or 13 digits, with as many hyphens as make it so long."""
    digits = f"978{number:09}"
    digits += ean.calc_check_digit(digits)
    if short:
        digits = isbn.to_isbn10(digits)
    return digits[:3] + "-" * (length - len(digits)) + digits[3:]


def make_partial_date(day: date, length: int) -> str:
    return day.isoformat()[:length]


isbns = st.builds(make_isbn, st.integers(1, 999_999_999), st.booleans(), st.integers(10, 32))
days = st.builds(make_partial_date, st.dates(), st.sampled_from((4, 7, 10)))
schemathesis.openapi.format("isbn", isbns)
schemathesis.openapi.format("partial-date", days)


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Name the formats, which no pattern can say all of; a generator of clients knows neither."""
    formats = {ISBN_PATTERN: "isbn", PARTIAL_DATE_PATTERN: "partial-date"}

    def visit(node: Any) -> None:
        for part in node.values() if isinstance(node, dict) else node:
            if isinstance(part, (dict, list)):
                visit(part)
        if isinstance(node, dict) and node.get("pattern") in formats:
            node["format"] = formats[node["pattern"]]
            if node["format"] == "isbn":  # of ten characters of the pattern not all can be digits
                del node["pattern"]

    visit(raw_schema)
