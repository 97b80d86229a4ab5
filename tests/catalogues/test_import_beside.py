"""What happens beside an import: others use the account that owns it, or delete it."""

import io
from uuid import UUID

import pytest
from sqlalchemy import text
from werkzeug.security import generate_password_hash

from books_api import database
from books_api.auth.models import Role
from books_api.catalogues.exceptions import ImportRunning
from books_api.catalogues.importer import import_records
from books_api.catalogues.records import Record
from books_api.extensions import db
from tests.conftest import PASSWORD
from tests.helpers import (
    AUTH,
    BOOKS,
    NEW_PASSWORD,
    elsewhere,
    execute,
    locked,
    released_together,
    within,
)

MOMO = Record(2, ["Momo", "Ende"], {"title": "Momo", "author": "Ende"})
CONTENT = b"title,author\nMomo,Ende\n"
OUTDATED = generate_password_hash(PASSWORD, "scrypt:1024:8:1")


@pytest.fixture
def importer(make_user):
    """An admin, so that the lock on all active admins meets it too."""
    return make_user(role=Role.ADMIN, password_hash=OUTDATED)


@pytest.fixture
def under_way(app, importer):
    """A transaction with an import of the importer's that goes on when the test is over."""
    with app.app_context(), db.engine.connect() as connection:
        import_records(
            iter([MOMO]), UUID(importer.id), connection=connection, on_outcome=lambda *_: None
        )
        yield connection
        connection.rollback()


def send_import(client, account, body=None, key=None, **query):
    body = body or io.BytesIO(CONTENT)
    return client.post(
        f"{BOOKS}/import",
        input_stream=body,
        content_length=len(body.getvalue()),
        content_type="text/csv",
        headers={**account.headers, **({"Idempotency-Key": key} if key else {})},
        query_string=query,
    )


@pytest.mark.parametrize(
    ("method", "path", "values"),
    [
        ("POST", "logout-all", None),
        ("POST", "password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
        ("POST", "sessions", {"name": "script", "expires_in_days": 1, "read_only": True}),
        ("PATCH", "me", {"email": "new@example.com", "current_password": PASSWORD}),
        ("POST", "login", {"email": "{email}", "password": PASSWORD}),
    ],
)
def test_an_import_keeps_its_owner_from_nothing(client, importer, under_way, method, path, values):
    if values and values.get("email") == "{email}":
        values["email"] = importer.email

    response = client.open(f"{AUTH}/{path}", method=method, json=values, headers=importer.headers)

    assert response.status_code == (201 if path == "sessions" else 200), response.text


@pytest.mark.parametrize("changes", [{"is_active": False}, {"role": "user"}], ids=str)
def test_an_import_keeps_no_admin_from_stopping_its_owner(
    client, admin, importer, under_way, changes
):
    response = client.patch(f"{AUTH}/users/{importer.id}", json=changes, headers=admin.headers)

    assert response.status_code == 200, response.text


def test_a_deletion_waits_for_the_owners_import_and_others_for_the_deletion(
    app, servers, admin, importer
):
    """Whoever locks the row twice, and more the second time, is not in a ring with who waits."""

    def delete_me():
        return app.test_client().delete(
            f"{AUTH}/me", json={"current_password": PASSWORD}, headers=importer.headers
        )

    def logout_all():
        return app.test_client().post(f"{AUTH}/logout-all", headers=importer.headers)

    # What the foreign keys of an import lock.
    of_the_import = f"SELECT FROM users WHERE id = '{importer.id}' FOR KEY SHARE"
    answers = released_together(servers, of_the_import, delete_me, logout_all)

    assert [answer.status_code for answer in answers] == [204, 401]


class Meanwhile(io.BytesIO):
    """A body before which, when it is read, something happens."""

    def __init__(self, body, happen):
        super().__init__(body)
        self.happen = happen

    def readinto(self, buffer):
        self.happen()
        return super().readinto(buffer)

    def read(self, size=-1):
        self.happen()
        return super().read(size)


@pytest.mark.parametrize(
    ("key", "body"),
    [(None, "Momo,Ende"), ("k", "Momo,Ende"), ("k", "Momo,")],
    ids=["book", "book with a key", "nothing good with a key"],
)
def test_an_account_that_is_deleted_while_its_import_is_sent_is_401(
    app, client, importer, key, body
):
    def delete():
        elsewhere(execute, app, "DELETE FROM users WHERE id = :id", id=importer.id)

    content = f"title,author\n{body}\n".encode()
    response = send_import(client, importer, Meanwhile(content, delete), key)

    assert (response.status_code, response.mimetype) == (401, "application/problem+json")
    assert response.json["detail"] == "The account of this token is gone."


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"dry_run": "true"}], ids=str)
def test_an_import_beside_one_of_the_same_user_is_409_at_once(
    client, importer, under_way, stored, options
):
    with within(1):
        response = send_import(client, importer, **options)

    assert (response.status_code, response.mimetype) == (409, "application/problem+json")
    assert response.json["detail"] == "Another import of this user is still running."
    assert response.headers["Retry-After"] == "1"
    assert stored("id") == []


def test_an_import_beside_another_reads_no_record(importer, under_way):
    def records():
        yield pytest.fail("was read")

    with pytest.raises(ImportRunning), db.engine.connect() as connection:
        import_records(
            records(), UUID(importer.id), connection=connection, on_outcome=lambda *_: None
        )


def test_an_import_that_waits_for_another_lock_is_503(servers, make_impatient_app, importer):
    impatient = make_impatient_app(lock_timeout=100).test_client()
    with locked(servers, "LOCK TABLE books IN EXCLUSIVE MODE"):
        response = send_import(impatient, importer)

    assert response.status_code == 503


def test_an_import_beside_another_users_is_taken(client, admin, under_way):
    assert send_import(client, admin).json["imported"] == 1


def test_a_command_that_has_waited_long_for_another_import_says_so(
    run_import, importer, under_way, monkeypatch
):
    monkeypatch.setattr(database, "LONG", text("SET LOCAL lock_timeout = '100ms'"))

    result = run_import(CONTENT, "--quiet", owner=importer.email)

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: Another import of this user is still running; 0 imported, up to line 0."
        " Run it again to finish the job.\n"
    )
