"""A client that loses answers, as a phone does: it sends again, and all is done once."""

import random

import pytest
from flask.testing import FlaskClient

from books_api.auth import resets, users
from tests.conftest import PASSWORD, bearer
from tests.helpers import NEW_PASSWORD, execute, log_in

SAFE = {"get", "parameters"}


class Phone:
    """Sends each operation until it is answered; knows what the documentation says of a retry.

    It loses one answer in five; without a seed, the first to each.
    """

    def __init__(self, client: FlaskClient, seed: int | None) -> None:
        self.client, self.sent = client, set()
        self.dice = None if seed is None else random.Random(seed)
        paths = client.get("/openapi.json").json["paths"]
        self.operations = {
            operation["operationId"]: (method, path)
            for path, item in paths.items()
            for method, operation in item.items()
            if method not in SAFE
        }

    def send(self, name, token=None, *, done=None, key=None, headers=None, ids=None, **options):
        """Return the answer; None when the problem type `done` says that it was done before."""
        method, path = self.operations[name]
        self.sent.add(name)
        headers = {**(bearer(token) if token else {}), **(headers or {})}
        if key:
            headers["Idempotency-Key"] = key
        was_lost = False
        for _ in range(50):
            response = self.client.open(
                path.format(**(ids or {})), method=method.upper(), headers=headers, **options
            )
            if self.dice.random() < 0.2 if self.dice else not was_lost:
                was_lost = True
            elif response.status_code < 300:
                return response
            else:
                assert was_lost, response.text
                assert response.json["type"] == f"/problems/{done}", response.text
                return None
        raise AssertionError(f"{name} is never answered")

    def log_in(self, email, password=PASSWORD):
        response = self.send("login", json={"email": email, "password": password})
        return response.json["access_token"], response.json["refresh_token"]


@pytest.mark.parametrize("seed", [None, *range(4)])
def test_a_lost_answer_is_cured_by_a_retry_and_nothing_is_done_twice(app, client, admin, seed):
    phone = Phone(client, seed)
    email = "carol@example.com"
    carol = {"username": "carol", "email": email, "password": PASSWORD}

    user = phone.send("signup", json=carol, key="sign-up").json
    access, refresh = phone.log_in(email)
    access = phone.send("rotate_refresh_token", refresh).json["access_token"]
    phone.send("update_me", access, json={"first_name": "Carol"})

    book = phone.send("create_book", access, key="book", json={"title": "a", "author": "b"})
    ids = {"book_id": book.json["id"]}
    change = {"json": {**book.json, "title": "c"}, "headers": {"If-Match": book.headers["ETag"]}}
    changed = phone.send("update_book", access, ids=ids, **change).json
    csv = {"data": "title,author\nd,e\n", "content_type": "text/csv"}
    phone.send("import_books", access, key="import", **csv)
    gone = phone.send("create_book", access, key="gone", json={"title": "f", "author": "g"}).json
    phone.send("delete_book", access, ids={"book_id": gone["id"]}, done="not-found")
    assert (changed["title"], changed["version"]) == ("c", 2)
    rows = execute(app, "SELECT title, version FROM books ORDER BY title")
    assert [tuple(row) for row in rows] == [("c", 2), ("d", 1)]

    script = {"name": "script", "expires_in_days": 1, "read_only": True}
    made = [phone.send("create_script_token", access, key=key, json=script).json for key in "xy"]
    ended = {"session_id": made[0]["id"]}
    phone.send("end_session", access, ids=ended, done="not-found")
    alive = execute(app, "SELECT id::text FROM sessions WHERE name IS NOT NULL")
    assert [row.id for row in alive] == [made[1]["id"]]

    ids = {"user_id": user["id"]}
    phone.send("update_user", admin.access_token, ids=ids, json={"role": "admin"})
    access, _ = phone.log_in(email)  # a new role ends the sessions
    passwords = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    phone.send("change_password", access, json=passwords, done="token-revoked")
    access, _ = phone.log_in(email, NEW_PASSWORD)
    phone.send("logout", access, done="token-revoked")

    with app.app_context():
        token = resets.make_reset_token(users.find_user(email))
    reset = {"token": token, "new_password": PASSWORD}
    phone.send("reset_password", json=reset, done="reset-token-invalid")
    access, _ = phone.log_in(email)
    phone.send("logout_all", access, done="token-revoked")
    access, _ = phone.log_in(email)
    phone.send("delete_me", access, json={"current_password": PASSWORD}, done="token-revoked")

    assert log_in(client, email).status_code == 401
    assert len(execute(app, "SELECT FROM users")) == 1  # the admin
    assert phone.sent == phone.operations.keys()
