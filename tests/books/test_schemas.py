"""What may be in a book, field by field."""

import pytest

from tests.helpers import BOOKS, MOMO, exceptions, pointers_of

TEXTS = {"title": 500, "author": 1_000, "publisher": 500, "language": 35}
SERVERS_OWN = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "user_uid": "01890a5d-ac96-774b-bcce-b302099a8057",
    "created_at": "2024-01-01T00:00:00Z",
    "updated_at": "2024-01-01T00:00:00Z",
}


@pytest.fixture
def create(client, alice):
    """Send a new book with the values."""
    return lambda **values: client.post(BOOKS, json={**MOMO, **values}, headers=alice.headers)


def test_text_is_trimmed(create):
    response = create(**dict.fromkeys(TEXTS, " \t\r\n\u00a0\u3000de\u2003"))

    assert {response.json[field] for field in TEXTS} == {"de"}


@pytest.mark.parametrize(
    "character", ["a", "三", "😀", "\ufdfa"], ids=["ascii", "cjk", "emoji", "ligature"]
)
def test_text_may_have_its_full_length_in_any_script(create, character):
    values = {field: character * most for field, most in TEXTS.items()}

    response = create(**values)

    assert {field: response.json[field] for field in TEXTS} == values


@pytest.mark.parametrize(
    "title",
    [
        "Cien años de soledad",
        "L'E\u0301tranger",  # decomposed, and given back so
        "三体",
        "Преступление и наказание",
        "ألف ليلة وليلة",
        "👩‍👩‍👧‍👦 🇪🇺",
        "\u202ereversed\u202c",
        "Zalgo\u0300\u0301\u0302\u0303\u0304\u0305",
        'Quotes " and \\ and / and <b>',
        "'; DROP TABLE books; --",
        "%s %(title)s {0} :title ?",
        "line\nbreak and tab\t.",
        "\u007f\u0001\ufeff.",
        "\uffff\U0010ffff",
    ],
)
def test_a_title_comes_back_as_it_was_sent(client, alice, create, title):
    created = create(title=title)

    response = client.get(created.headers["Location"], headers=alice.headers)

    assert response.json["title"] == title


def test_a_surrogate_pair_in_escapes_is_one_character(client, alice):
    body = r'{"title": "\ud83d\ude00", "author": "a"}'

    response = client.post(BOOKS, data=body, content_type="application/json", headers=alice.headers)

    assert response.json["title"] == "😀"


@pytest.mark.parametrize("field", ["title", "author"])
def test_title_and_author_are_required(client, alice, field):
    values = {name: value for name, value in MOMO.items() if name != field}

    response = client.post(BOOKS, json=values, headers=alice.headers)

    assert (response.status_code, pointers_of(response)) == (422, [f"/{field}"])


OPTIONAL = ["publisher", "published_date", "page_count", "language", "isbn"]


@pytest.mark.parametrize("values", [{}, dict.fromkeys(OPTIONAL)])
def test_gaps_may_be_left_out_or_null(create, values):
    response = create(**values)

    assert [response.json[field] for field in OPTIONAL] == [None] * len(OPTIONAL)


@pytest.mark.parametrize("page_count", [1, 100_000])
def test_a_page_count_within_its_bounds_is_taken(create, page_count):
    response = create(page_count=page_count)

    assert response.json["page_count"] == page_count


def test_a_date_comes_back_as_precise_as_it_was_sent(create):
    for date in ("0001", "0001-01-01", "1937", "1937-09", "2000-02-29", "9999", "9999-12-31"):
        assert create(published_date=date).json["published_date"] == date


@pytest.mark.parametrize(
    ("isbn", "stored"),
    [
        ("0306406152", "9780306406157"),
        ("0-306-40615-2", "9780306406157"),
        ("0 306 40615 2", "9780306406157"),
        ("080442957X", "9780804429573"),
        ("0-8044-2957-x", "9780804429573"),
        ("9780306406157", "9780306406157"),
        ("978-0-306-40615-7", "9780306406157"),
        ("978 0 306 40615 7", "9780306406157"),
        ("978\u20130\u2013306\u201340615\u20137", "9780306406157"),  # en dashes
        (" 9780306406157\n", "9780306406157"),
        ("979-10-90636-07-1", "9791090636071"),
    ],
)
def test_an_isbn_is_stored_as_its_13_digits(create, isbn, stored):
    response = create(isbn=isbn)

    assert (response.status_code, response.json.get("isbn")) == (201, stored)


WRONG_IN_BOTH = [("version", 7), ("published_on", "2024-01-01"), ("Title", "x")]
WRONG_IN_BOTH += [("title", None), ("author", None)]
REFUSED = {
    **{
        field: ["", " ", "\u3000\t\n", "x" * (most + 1), 5, True, ["x"]]
        for field, most in TEXTS.items()
    },
    "page_count": [
        *(0, -1, 100_001, 2**31, 2**63, -(2**63), 1.5, 1e300),
        *("", "5", "five", "\u0661", True, False, [5], {}),
    ],
    "published_date": [
        *("", " ", "20", "202", "0000", "0000-01-01", "10000", "10000-01-01", "-0001", "+2020"),
        *("2020-1", "2020-00", "2020-13", "2020-1-1", "2020-01-00", "2020-01-32", "2020-01-1"),
        *("2020-02-30", "2021-02-29", "1900-02-29", "2020-06-31", "2020-", "2020-01-"),
        *("20200101", "202001", "2020-W01", "2020-W01-1", "2020-001", "2020/01/01", "01.02.2020"),
        *("2020-01-01T00:00:00", "2020-01-01Z", "2020-01-01 BC", "2020 -01", "2020--01", "c1937"),
        *("\uff12\uff10\uff12\uff10", "\u0662\u0660\u0662\u0660", "2020\u201001"),
        *("MMXX", "today", "infinity"),
        *(1937, 1937.0, True, ["1937"], {"year": 1937}),
    ],
    "isbn": [
        *("0306406153", "0306406150", "9780306406158", "978-0-306-40615-8", "0804429571"),
        *("0000000000", "0-00-000000-0", "000000000X", "0000000000000"),
        *("306406152", "306-40615-2", "306 40615 2"),  # of 9 digits: an SBN, no ISBN
        *("", " ", "-", "12345", "97803064061570", "97803064061", "9770306406158"),
        *("030640615X", "X306406152", "03064X6152", "978030640615X", "abcdefghij"),
        *("9.78030640615E+12", "9780306406157.0", '="9780306406157"', "ISBN 0306406152"),
        *("0306406152 0306406152", "978_0306406157", "978.0306406157", "٠٣٠٦٤٠٦١٥٢"),
        *(306406152, 9780306406157, 9.78e12, True, ["9780306406157"], {}),
    ],
}


@pytest.mark.parametrize("field", REFUSED)
def test_a_value_out_of_form_is_refused_and_its_field_is_named(create, field):
    def answer_to(value):
        response = create(**{field: value})
        return response.status_code, pointers_of(response)

    assert exceptions((422, [f"/{field}"]), answer_to, REFUSED[field]) == {}


@pytest.mark.parametrize(("field", "value"), [*SERVERS_OWN.items(), *WRONG_IN_BOTH])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_is_null_or_not_the_clients_is_refused(client, alice, make_book, method, field, value):
    path = BOOKS if method == "POST" else f"{BOOKS}/{make_book(alice)['id']}"

    response = client.open(path, method=method, json={**MOMO, field: value}, headers=alice.headers)

    assert (response.status_code, pointers_of(response)) == (422, [f"/{field}"])


@pytest.mark.parametrize(
    ("name", "pointer"),
    [("a/b", "/a~1b"), ("m~n", "/m~0n"), ("", "/"), ("_schema", "/_schema"), ("\0", "/\0")],
)
def test_an_unknown_field_is_named_by_a_json_pointer(create, name, pointer):
    response = create(**{name: 1})

    assert pointers_of(response) == [pointer]


def test_every_wrong_field_is_named(client, alice):
    values = {"author": "", "page_count": 0, "isbn": "x", "price": 5}

    response = client.post(BOOKS, json=values, headers=alice.headers)

    assert set(pointers_of(response)) == {"/title", "/author", "/page_count", "/isbn", "/price"}
