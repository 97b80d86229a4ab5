"""Create, read, change, delete: who may, and what comes back."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete

from books_api.auth.models import User
from books_api.extensions import db
from tests.helpers import BOOKS, NOBODY, exceptions, together

MOMO = {
    "title": "Momo",
    "author": "Michael Ende",
    "publisher": "Thienemann",
    "published_date": "1973-01",
    "page_count": 304,
    "language": "de",
    "isbn": "9783522119405",
}
FIELDS = {
    *("id", "title", "author", "publisher", "published_date", "page_count", "language", "isbn"),
    *("user_uid", "version", "created_at", "updated_at"),
}


def delete_account(app, account):
    """As another process would: nothing tells Redis, so the token still seems good."""
    with app.app_context():
        db.session.execute(delete(User).where(User.id == uuid.UUID(account.id)))
        db.session.commit()


def test_a_created_book_has_what_was_sent_and_the_fields_of_the_contract(client, alice):
    response = client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers)

    assert (response.status_code, response.headers["ETag"]) == (201, '"1"')
    assert set(response.json) == FIELDS
    assert {name: response.json[name] for name in MOMO} == MOMO
    assert response.json["user_uid"] == alice.id


@pytest.mark.parametrize("slash", ["", "/"])
def test_location_leads_to_the_created_book(client, alice, slash):
    created = client.post(BOOKS + slash, json=MOMO, headers=alice.headers)

    response = client.get(created.headers["Location"], headers=alice.headers)

    assert (response.status_code, response.json) == (200, created.json)


def test_timestamps_are_rfc_3339_in_utc(client, alice):
    response = client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers)

    created_at = datetime.strptime(response.json["created_at"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert abs(datetime.now(UTC) - created_at.replace(tzinfo=UTC)) < timedelta(minutes=1)


def test_a_person_may_own_two_copies(client, alice):
    answers = [client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers) for _ in range(2)]

    assert len({answer.json["id"] for answer in answers}) == 2


def test_anybody_with_a_token_reads_a_book(client, alice, bob, make_book):
    book = make_book(alice)

    response = client.get(f"{BOOKS}/{book['id']}", headers=bob.headers)

    assert (response.status_code, response.json) == (200, book)


def test_an_id_in_capital_letters_is_the_same_id(client, alice, make_book):
    book = make_book(alice)

    response = client.get(f"{BOOKS}/{book['id'].upper()}", headers=alice.headers)

    assert response.json == book


def test_head_answers_as_get_without_a_body(client, alice, make_book):
    path = f"{BOOKS}/{make_book(alice)['id']}"
    full = client.get(path, headers=alice.headers)

    response = client.head(path, headers=alice.headers)

    assert (response.data, response.headers["Content-Length"], response.headers["ETag"]) == (
        b"",
        full.headers["Content-Length"],
        full.headers["ETag"],
    )


def test_a_change_leaves_the_other_fields(client, alice, make_book):
    book = make_book(alice)

    for version, field in enumerate(MOMO, 2):
        change = {field: MOMO[field]}
        response = client.patch(f"{BOOKS}/{book['id']}", json=change, headers=alice.headers)

        book |= {**change, "version": version, "updated_at": response.json["updated_at"]}
        assert (response.status_code, response.json) == (200, book)


def test_null_empties_a_field(client, alice, make_book):
    book = make_book(alice, **MOMO)

    for field in MOMO.keys() - {"title", "author"}:
        path, change = f"{BOOKS}/{book['id']}", {field: None}
        assert client.patch(path, json=change, headers=alice.headers).json[field] is None


def test_a_change_stays(client, alice, make_book):
    path = f"{BOOKS}/{make_book(alice)['id']}"
    changed = client.patch(path, json=MOMO, headers=alice.headers)

    response = client.get(path, headers=alice.headers)

    assert (response.json, response.headers["ETag"]) == (changed.json, changed.headers["ETag"])


def test_a_change_moves_updated_at_only(client, alice, make_book):
    book = make_book(alice)

    changed = client.patch(f"{BOOKS}/{book['id']}", json=MOMO, headers=alice.headers).json

    assert book["created_at"] == changed["created_at"] < changed["updated_at"]


def test_an_empty_change_changes_nothing(client, alice, make_book):
    book = make_book(alice)

    response = client.patch(f"{BOOKS}/{book['id']}", json={}, headers=alice.headers)

    assert (response.status_code, response.json, response.headers["ETag"]) == (200, book, '"1"')


def test_a_deleted_book_is_gone(client, alice, make_book):
    path = f"{BOOKS}/{make_book(alice)['id']}"

    response = client.delete(path, headers=alice.headers)

    assert (response.status_code, response.data) == (204, b"")
    assert client.get(path, headers=alice.headers).status_code == 404


def test_of_simultaneous_deletions_one_succeeds(app, alice, make_book):
    path = f"{BOOKS}/{make_book(alice)['id']}"

    def send():
        return app.test_client().delete(path, headers=alice.headers).status_code

    assert sorted(together(*[send] * 6)) == [204, 404, 404, 404, 404, 404]


@pytest.mark.parametrize(
    ("method", "values"), [("PATCH", {"title": "Mine"}), ("PATCH", {}), ("DELETE", None)]
)
def test_another_users_book_is_not_ones_own(client, alice, bob, make_book, method, values):
    book = make_book(alice)
    path = f"{BOOKS}/{book['id']}"

    response = client.open(path, method=method, json=values, headers=bob.headers)

    assert response.status_code == 403
    assert client.get(path, headers=alice.headers).json == book


def test_an_admin_changes_any_book_and_it_keeps_its_owner(client, alice, admin, make_book):
    path = f"{BOOKS}/{make_book(alice)['id']}"

    response = client.patch(path, json={"title": "Momo"}, headers=admin.headers)

    assert (response.json["title"], response.json["user_uid"]) == ("Momo", alice.id)


def test_an_admin_deletes_any_book(client, alice, admin, make_book):
    path = f"{BOOKS}/{make_book(alice)['id']}"

    response = client.delete(path, headers=admin.headers)

    assert response.status_code == 204


def test_what_is_not_there_is_404(client, admin):
    paths = [
        *(f"/{NOBODY}", f"/user/{NOBODY}", "/1", "/user/alice", "/user", f"//{NOBODY}"),
        *(f"/{NOBODY.replace('-', '')}", f"/{{{NOBODY}}}"),
    ]
    requests = [("GET", path, None) for path in paths]
    requests += [("PATCH", paths[0], MOMO), ("PATCH", paths[0], {}), ("DELETE", paths[0], None)]

    def status_of(request):
        method, path, values = request
        url = BOOKS + path
        return client.open(url, method=method, json=values, headers=admin.headers).status_code

    assert exceptions(404, status_of, requests) == {}


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_path_answers_with_and_without_a_slash(client, alice, make_book, slash):
    book = f"/{make_book(alice)['id']}"

    statuses = [
        client.open(BOOKS + path + slash, method=method, json=values, headers=alice.headers).status
        for method, path, values in (
            *(("GET", "", None), ("POST", "", MOMO), ("GET", book, None), ("PATCH", book, MOMO)),
            *(("GET", f"/user/{alice.id}", None), ("DELETE", book, None)),
        )
    ]

    assert [int(status[:3]) for status in statuses] == [200, 201, 200, 200, 200, 204]


def test_who_is_deleted_adds_no_book(app, client, alice):
    delete_account(app, alice)

    response = client.post(f"{BOOKS}/", json=MOMO, headers=alice.headers)

    assert response.status_code == 401


def test_the_books_of_a_deleted_account_are_gone(app, client, alice, bob, make_book):
    book = make_book(alice)
    delete_account(app, alice)

    response = client.get(f"{BOOKS}/{book['id']}", headers=bob.headers)

    assert response.status_code == 404
