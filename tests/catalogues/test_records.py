"""From a file to books, without a database: encodings, readers, columns, repairs."""

import io

import pytest
from marshmallow import ValidationError

from books_api.catalogues import repair
from books_api.catalogues.columns import find_columns
from books_api.catalogues.encodings import open_text, read_lines
from books_api.catalogues.exceptions import UnknownColumn, UnreadableCatalogue
from books_api.catalogues.readers import open_catalogue, reason
from books_api.catalogues.repair import date_form, read_book

MOMO = {"title": "Momo", "author": "Ende"}


def left_out(field, reason):
    return repair.Note(repair.LEFT_OUT[field], f"{field}: {reason}")


def records(content, **options):
    return list(open_catalogue(io.BytesIO(content.encode()), **options).records)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("Zoë".encode(), "UTF-8"),
        ("Zoë".encode("utf-8-sig"), "UTF-8 with BOM"),
        ("Zoë".encode("utf-16"), "UTF-16"),
        ("Zoë".encode("cp1252"), "Windows-1252"),
    ],
)
def test_an_encoding_is_recognised(content, name):
    text, found = open_text(io.BytesIO(content))

    assert (found, list(read_lines(text))) == (name, ["Zoë"])


@pytest.mark.parametrize("content", [bytes(range(256)), b"\xff\xfeabc", b"x" * 1_100_000])
def test_what_is_no_text_is_refused(content):
    with pytest.raises(UnreadableCatalogue):
        open_text(io.BytesIO(content))


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (["Title", "Author"], {"title": 0, "author": 1}),
        (["Authors", "TITLE", "  num_pages"], {"author": 0, "title": 1, "page_count": 2}),
        (["Primary Author", "Title", "ISBN/UID"], {"author": 0, "title": 1, "isbn_uid": 2}),
        (["Bookshelves", "Title", "Author"], {"title": 1, "author": 2}),
    ],
)
def test_a_column_is_known_by_its_name(header, columns):
    assert find_columns(header, {}) == columns


def test_a_mapping_goes_before_a_name():
    header = ["Title", "Titel", "Author"]

    assert find_columns(header, {"title": "Titel"}) == {"title": 1, "author": 2}


@pytest.mark.parametrize("mapping", [{}, {"title": "Titel"}], ids=["twice", "absent"])
def test_a_column_that_is_there_twice_or_not_at_all_is_refused(mapping):
    with pytest.raises(UnknownColumn):
        find_columns(["Title", "title", "Author"], mapping)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_recognised(delimiter):
    [record] = records(f"Title{delimiter}Author\nMomo{delimiter}Ende\n")

    assert (record.line, record.book) == (2, MOMO)


def test_a_cell_may_have_line_breaks_and_the_next_record_its_line():
    first, second = records('title,author\n"Mo\nmo",Ende\nJim,Ende\n')

    assert (first.book["title"], second.line) == ("Mo\nmo", 4)


def test_an_unbalanced_quote_costs_one_line():
    bad, good = records('title,author\n"Momo,Ende,x\nJim,Ende\n')

    assert (bad.reason is not None, good.book["title"]) == (True, "Jim")


def test_json_lines_keep_their_types():
    [record] = records('{"title": "Momo", "author": "Ende", "page_count": 5}\n')

    assert record.book == {**MOMO, "page_count": 5}


@pytest.mark.parametrize("line", ["{", "[]", '{"title": 1, "Title": 2}'])
def test_a_bad_json_line_is_a_record_with_a_reason(line):
    assert records(f"{line}\n", format="jsonl")[0].reason


@pytest.mark.parametrize(
    ("values", "book", "repairs"),
    [
        ({"title": " Momo "}, {"title": "Momo"}, [repair.TRIMMED]),
        ({"page_count": "304.0"}, {"page_count": 304}, []),
        ({"page_count": "0"}, {"page_count": None}, [repair.NO_PAGES]),
        ({"published_date": "9/16/2006"}, {"published_date": "2006-09-16"}, []),
        ({"published_date": "812"}, {"published_date": "0812"}, []),
        ({"isbn": '="0060853980"'}, {"isbn": "9780060853983"}, []),
        ({"isbn": "60853980"}, {"isbn": "9780060853983"}, [repair.ZEROS]),
        ({"isbn": "[0060853980]"}, {"isbn": "9780060853983"}, []),
        (
            {"isbn13": "9780060853983", "isbn": "123"},
            {"isbn": "9780060853983"},
            [repair.OTHER_ISBN],
        ),
        ({"isbn_uid": "a1b2c3d4"}, {}, [repair.NO_ISBN]),
        ({"additional_authors": "Fuchs|Endl"}, {"author": "Ende, Fuchs, Endl"}, []),
        ({"publisher": "", "page_count": ""}, {"publisher": None, "page_count": None}, []),
        ({"isbn": "0060853981"}, {}, [left_out("isbn", "The check digit of the ISBN is wrong.")]),
    ],
    ids=str,
)
def test_a_record_is_repaired_to_a_book(values, book, repairs):
    assert read_book({**MOMO, **values}) == ({**MOMO, **book}, repairs)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"title": ""}, "title: Must not be empty."),
        ({"published_date": "-500"}, "published_date: The year -500 is BC; years are 1 to 9999."),
        ({"published_date": "13/13/2006"}, "published_date: 13/13/2006 (month/day/year)"),
        ({"isbn": "9.78006E+12"}, "isbn: 9.78006E+12 has lost digits"),
        ({"isbn": "0060853981"}, "isbn: The check digit of the ISBN is wrong."),
    ],
    ids=str,
)
def test_what_cannot_be_a_book_has_a_reason(values, said):
    with pytest.raises(ValidationError) as refused:
        read_book({**MOMO, **values}, strict=True)

    assert reason(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("value", "form"),
    [("2006", "a bare year"), ("9/16/2006", "M/D/YYYY"), ("2006-09", "ISO 8601"), ("soon", None)],
)
def test_the_form_of_a_date_is_named(value, form):
    assert date_form(value) == form
