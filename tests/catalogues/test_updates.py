"""Imports that change what is there: on_duplicate=update, and the ids of an export."""

import csv
import io
import json
from uuid import UUID

import pytest
from sqlalchemy import text

from books_api import PREFIX
from books_api.books.models import FIELDS
from books_api.catalogues import importer
from books_api.database import autocommit
from tests.helpers import NOBODY, elsewhere, execute, released_together, together

BOOKS = f"{PREFIX}/books"
MOMO = {
    "title": "Momo",
    "author": "Michael Ende",
    "publisher": "Thienemann",
    "published_date": "1973",
    "page_count": 304,
    "language": "de",
    "isbn": "9783522119405",
}


@pytest.fixture
def send(client, alice):
    """Import records as the owner, and return the report."""

    def send(*records, account=alice, on_duplicate="update", **query):
        content = "".join(json.dumps(record) + "\n" for record in records)
        response = client.post(
            f"{BOOKS}/import",
            data=content,
            content_type="application/x-ndjson",
            headers=account.headers,
            query_string={"on_duplicate": on_duplicate, **query},
        )
        assert response.status_code == 200, response.text
        return response.json

    return send


@pytest.fixture
def get(client, alice):
    def get(book_id):
        return client.get(f"{BOOKS}/{book_id}", headers=alice.headers).json

    return get


def outcomes(report):
    return [record["outcome"] for record in report["records"]]


def reasons(report):
    return [record["reason"] for record in report["records"]]


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ({"isbn": "3-522-11940-1", "page_count": 288}, {"page_count": 288}),
        ({"isbn": "9783522119405", "language": None}, {}),
    ],
    ids=str,
)
def test_a_record_without_id_changes_what_it_says(alice, make_book, send, get, said, changed):
    book = make_book(alice, **MOMO)

    report = send({"title": "Momo", "author": "Michael Ende", **said})

    found = get(book["id"])
    assert {name: found[name] for name in FIELDS} == {**MOMO, **changed}
    assert [record["id"] for record in report["records"]] == [book["id"]]
    assert outcomes(report) == (["updated"] if changed else ["already there"])


def test_a_record_without_isbn_changes_the_book_of_its_title(alice, make_book, send, get):
    book = make_book(alice, **{**MOMO, "isbn": None})

    send({**MOMO, "title": "MOMO!", "language": "ger", "isbn": None})

    assert (get(book["id"])["title"], get(book["id"])["language"]) == ("MOMO!", "ger")


def test_a_record_with_an_id_changes_all_of_its_book(alice, make_book, send, get):
    book = make_book(alice, **MOMO)
    other = make_book(alice, **MOMO)
    said = {**MOMO, "title": "Jim Knopf", "isbn": "9780261102217", "publisher": None}

    report = send({**said, "id": book["id"]})

    assert {name: get(book["id"])[name] for name in FIELDS} == said
    assert (get(other["id"]), outcomes(report)) == (other, ["updated"])


def test_what_a_record_does_not_say_stays(alice, make_book, send, get):
    book = make_book(alice, **MOMO)

    send({"id": book["id"], "title": "Momo", "author": "Ende", "page_count": "many"})

    assert {name: get(book["id"])[name] for name in FIELDS} == {**MOMO, "author": "Ende"}


def test_a_date_that_a_spreadsheet_made_ambiguous_stays(client, alice, make_book, get):
    book = make_book(alice, **{**MOMO, "published_date": "1973-09-01"})

    report = client.post(
        f"{BOOKS}/import?on_duplicate=update",
        data=f"id,title,author,published_date\n{book['id']},Jim,Ende,09/01/1973\n",
        content_type="text/csv",
        headers=alice.headers,
    ).json

    assert report["records"][0]["notes"] == [
        "published_date left out: day and month cannot be told apart; the book keeps its date"
    ]
    assert report["repairs"] == {"published_date that cannot be read left out": 1}
    assert (get(book["id"])["title"], get(book["id"])["published_date"]) == ("Jim", "1973-09-01")


@pytest.mark.parametrize(
    ("written", "notes"),
    [
        ("c1999", []),
        ("[1999]", []),
        ("Summer 1999", ["published_date: only the year of a season kept"]),
    ],
)
def test_a_year_that_is_certain_changes_a_date(alice, make_book, send, get, written, notes):
    book = make_book(alice, **MOMO)

    report = send({**MOMO, "id": book["id"], "published_date": written})

    assert report["records"][0]["notes"] == notes
    assert get(book["id"])["published_date"] == "1999"


def test_a_book_is_touched_only_when_it_changes(app, alice, make_book, send, get):
    book = make_book(alice, **MOMO)
    with app.app_context(), autocommit() as connection:
        connection.execute(text("UPDATE books SET updated_at = created_at - interval '1 day'"))
    before = get(book["id"])

    report = send({**MOMO, "id": book["id"]})
    same = get(book["id"])
    send({**MOMO, "id": book["id"], "page_count": 1})

    assert (outcomes(report), report["already_there"]) == (["already there"], 1)
    assert same == before
    assert get(book["id"])["updated_at"] > before["updated_at"]
    versions = execute(app, "SELECT version FROM books")
    assert versions == [(2,)]


@pytest.mark.parametrize("on_duplicate", ["skip", "add"])
def test_otherwise_a_book_is_left_as_it_is(alice, make_book, send, get, stored, on_duplicate):
    book = make_book(alice, **MOMO)

    report = send({**MOMO, "id": book["id"], "title": "Jim"}, on_duplicate=on_duplicate)

    assert get(book["id"]) == book
    assert outcomes(report) == ["already there" if on_duplicate == "skip" else "imported"]
    assert len(stored("id")) == (1 if on_duplicate == "skip" else 2)


def test_an_update_rejects_ids_of_others_and_of_none(alice, bob, make_book, send, stored):
    others = make_book(bob, **MOMO)

    report = send({**MOMO, "id": others["id"]}, {**MOMO, "id": NOBODY}, MOMO)

    assert outcomes(report) == ["rejected", "rejected", "imported"]
    assert reasons(report)[0] == "id: Is the id of another user's book."
    assert reasons(report)[1].startswith("id: Is not the id of any book.")
    assert [str(owner) for owner in stored("user_uid")].count(bob.id) == 1


@pytest.mark.parametrize("on_duplicate", ["skip", "add"])
def test_a_backup_of_other_books_can_be_imported(bob, make_book, send, stored, on_duplicate):
    others = make_book(bob, **MOMO)

    unknown = {**MOMO, "isbn": None, "title": "Jim", "id": NOBODY}

    report = send(others, unknown, on_duplicate=on_duplicate)

    assert (outcomes(report), len(set(stored("id")))) == (["imported"] * 2, 3)


def test_ids_of_other_programs_are_not_looked_at(alice, make_book, send):
    make_book(alice, **MOMO)

    assert outcomes(send({**MOMO, "id": 7, "page_count": 1})) == ["updated"]


@pytest.mark.parametrize("batch", [1, 2_000])
def test_records_of_the_same_book_are_taken_in_their_order(
    alice, make_book, send, get, monkeypatch, batch
):
    monkeypatch.setattr(importer, "BATCH", batch)
    book = make_book(alice, **MOMO)
    new = {"title": "Jim", "author": "Ende"}

    report = send(
        {**MOMO, "id": book["id"], "title": "A", "page_count": 1},
        {"id": book["id"], "title": "B", "author": "Ende", "language": None},
        new,
        {**new, "page_count": None},
        {**new, "page_count": 7},
    )

    found = get(book["id"])
    assert [found[name] for name in ("title", "page_count", "language")] == ["B", 1, None]
    assert outcomes(report)[:3] == ["updated", "updated", "imported"]
    assert get(report["records"][4]["id"])["page_count"] == 7
    assert len({record["id"] for record in report["records"]}) == 2


def test_a_rejected_record_is_no_book_for_the_next(send, stored):
    report = send({**MOMO, "id": NOBODY}, MOMO, MOMO)

    assert (outcomes(report), len(stored("id"))) == (["rejected", "imported", "already there"], 1)


def test_a_dry_run_of_an_update_changes_nothing(alice, make_book, send, get):
    book = make_book(alice, **MOMO)

    report = send({**MOMO, "id": book["id"], "title": "Jim"}, dry_run="true")

    assert (outcomes(report), get(book["id"])) == (["updated"], book)


@pytest.mark.parametrize("format_", ["csv", "excel"])
def test_exactly_the_edits_of_an_export_arrive(client, alice, make_book, get, format_):
    books = [make_book(alice, **{**MOMO, "title": f"={title}"}) for title in range(5)]
    exported = client.get(f"{BOOKS}/export?format={format_}", headers=alice.headers).data
    rows = list(csv.reader(io.StringIO(exported.decode("utf-8-sig"))))
    columns = {name: place for place, name in enumerate(rows[0])}
    rows[1][columns["title"]] = "Jim"
    rows[2][columns["publisher"]] = ""
    rows[3][columns["isbn"]] = "9.78352E+12"  # as a spreadsheet saves it
    edited = io.StringIO()
    csv.writer(edited, delimiter=";").writerows(rows)

    report = client.post(
        f"{BOOKS}/import?on_duplicate=update",
        data=edited.getvalue().encode("cp1252"),
        content_type="application/vnd.ms-excel",
        headers=alice.headers,
    ).json

    found = [get(book["id"]) for book in books]
    assert (report["updated"], report["already_there"], report["rejected"]) == (2, 3, 0)
    assert (found[0]["title"], found[1]["publisher"]) == ("Jim", None)
    unchanged = [{**one, "updated_at": 0, "version": 0} for one in found]
    expected = [{**one, "updated_at": 0, "version": 0} for one in books]
    expected[0]["title"], expected[1]["publisher"] = "Jim", None
    assert unchanged == expected


def test_a_book_that_is_deleted_meanwhile_is_added_or_rejected(
    app, servers, alice, make_book, send
):
    first, second = make_book(alice, **MOMO), make_book(alice, title="Jim", author="Ende")
    by_id = {**MOMO, "id": first["id"], "isbn": None, "title": "Jim Knopf"}
    by_title = {"title": "Jim", "author": "Ende", "page_count": 5}

    [report] = released_together(
        servers, "DELETE FROM books", lambda: elsewhere(send, by_id, by_title), commit=True
    )

    assert outcomes(report) == ["rejected", "imported"]
    assert report["records"][1]["id"] != second["id"]


def test_two_updates_at_once_change_a_book_once(app, alice, make_book):
    book = make_book(alice, **MOMO)
    content = json.dumps({**MOMO, "id": book["id"], "title": "Jim"})

    def post():
        return app.test_client().post(
            f"{BOOKS}/import?on_duplicate=update",
            data=content,
            content_type="application/x-ndjson",
            headers=alice.headers,
        )

    answers = together(*[post] * 4)

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert execute(app, "SELECT title, version FROM books") == [("Jim", 2)]


def test_a_change_by_another_request_stays(client, servers, alice, make_book, send, get):
    book = make_book(alice, **MOMO)
    change = f"UPDATE books SET publisher = 'dtv' WHERE id = '{UUID(book['id'])}'"

    released_together(
        servers,
        change,
        lambda: elsewhere(send, {"id": book["id"], "title": "Jim", "author": "Ende"}),
        commit=True,
    )

    assert (get(book["id"])["title"], get(book["id"])["publisher"]) == ("Jim", "dtv")


@pytest.mark.long
def test_very_many_books_of_one_title_are_matched_in_time(app, alice, send):
    execute(
        app,
        "INSERT INTO books (id, user_uid, title, author, published_date)"
        " SELECT gen_random_uuid(), :owner, repeat('x', 150) || n, 'Ende', (n % 2000 + 1)::text"
        " FROM generate_series(1001, 3000) n",
        owner=alice.id,
    )
    titles = [f"{'x' * 150}{n}" for n in range(1001, 3001)]

    report = send(*({"title": title, "author": "Ende"} for title in titles), on_duplicate="skip")

    assert (report["imported"], report["already_there"]) == (2_000, 0)
