"""From a file to books, without a database: encodings, readers, columns, repairs."""

import csv
import io

import pytest
from marshmallow import ValidationError

from books_api.books.schemas import BookInputSchema
from books_api.catalogues import records as notes
from books_api.catalogues.encodings import open_text, read_lines
from books_api.catalogues.exceptions import UnknownColumn, UnreadableCatalogue
from books_api.catalogues.import_columns import find_columns
from books_api.catalogues.import_dates import DateOrder, parse_date
from books_api.catalogues.readers import open_catalogue, reason
from books_api.catalogues.repair import read_book
from books_api.catalogues.values import flatten

MOMO = {"title": "Momo", "author": "Ende"}


def records(content, **options):
    return list(open_catalogue(io.BytesIO(content.encode()), **options).records)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("Zoë".encode(), "UTF-8"),
        ("Zoë".encode("utf-8-sig"), "UTF-8 with BOM"),
        ("Zoë".encode("utf-16"), "UTF-16"),
        ("Zoë\n".encode("utf-16-be"), "UTF-16-BE"),
    ],
)
def test_an_encoding_is_recognised(content, name):
    text, found = open_text(io.BytesIO(content))

    assert (found, next(read_lines(text)).strip()) == (name, "Zoë")


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ("cp1250", "Příliš hlučná samota; Žítkovské bohyně; Smrt krásných srnců; Dvořák; Něco"),
        ("cp1251", "Преступление и наказание; Фёдор Достоевский"),
        (
            "cp1252",
            "L'Éducation sentimentale; Émile Zola; Le Père Goriot; À la fin; Êtes-vous prêt",
        ),
        ("cp1253", "Ο Χριστός ξανασταυρώνεται; Νίκος Καζαντζάκης"),  # noqa: RUF001
        ("cp1254", "İnce Memed; Yaşar Kemal; Çalıkuşu; Benim Adım Kırmızı"),  # noqa: RUF001
        ("koi8_r", "Мастер и Маргарита"),
        ("gb18030", "红高粱家族; 平凡的世界; 骆驼祥子; 三体; 刘慈欣"),
        ("cp949", "채식주의자; 소년이 온다; 엄마를 부탁해; 조남주"),
        ("cp932", "ノルウェイの森; 村上春樹; 吾輩は猫である; 夏目漱石; 人間失格; キッチン; 雪国"),
        (
            "mac_roman",
            "L'Éducation sentimentale; Émile Zola; Le Père Goriot; À la fin; Êtes-vous prêt",
        ),
        ("iso2022_jp", "青い宿屋"),
    ],
)
def test_an_encoding_is_recognised_by_its_letters(codec, words):
    text, _ = open_text(io.BytesIO(words.encode(codec)))

    assert text.read() == words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, "No encoding is called") for name in ("punycode", "base64", "undefined", "no")),
        ("a\0b", "No encoding is called"),
        ("utf-16", "The file is not utf-16"),
    ],
)
def test_an_encoding_that_there_is_not_or_that_does_not_fit_is_refused(name, said):
    with pytest.raises(UnreadableCatalogue, match=said):
        open_text(io.BytesIO(b"\xff\xffa"), name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is empty."),
        (b"\n \r\n\n", "The file is empty."),
        (b"\xef\xbb\xbf", "The file is empty."),
        (b"title,author\n", "The file has a header and no records."),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 9, "The file is "),
        (bytes(range(256)), "The file is binary"),
        (b"\x81\x8d\x8f\x90", "The encoding may be cp"),
        (b"\xff\xfet\0i\0t\0l", "The file begins like UTF-16 but is not."),
        (b"a" * 2_000_000, "Line 1 is longer than"),
        (b'"title,author\n' * 9, "The header is not CSV"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_file_that_cannot_be_read_is_refused(content, said):
    with pytest.raises(UnreadableCatalogue, match=said):
        open_catalogue(io.BytesIO(content))


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


def test_a_line_with_unmatched_quotes_is_rejected_where_others_have_quotes():
    bad, good = records('title,author\n"Momo",Ende\n"Jim" Knopf,Ende\n"Ophelia","Ende"\n')[1:]

    assert (bad.reason is not None, good.book["title"]) == (True, "Ophelia")


@pytest.mark.parametrize(
    "content",
    [
        'title, author\n"Momo, again", "Ende"\n',
        'title,author\n"Momo, again" ,"Ende" \n',
        "sep=;\ntitle;author\nMomo, again;Ende\n",
        'title;author\n"Momo, again";"Ende"\n',
        "title\tauthor\nMomo, again\tEnde\n",
    ],
    ids=repr,
)
def test_a_dialect_is_recognised(content):
    assert [record.book for record in records(content)] == [{**MOMO, "title": "Momo, again"}]


def test_backslashes_that_escape_no_quote_are_text():
    content = 'title,author\n"C:\\new \\"x\\"","Ende"\n"a\\\\","Ende"\n'

    assert [record.book["title"] for record in records(content)] == ['C:\\new "x"', "a\\"]


@pytest.mark.parametrize(
    ("values", "book", "repairs"),
    [
        ({"title": " Momo "}, {"title": "Momo"}, [notes.TRIMMED]),
        ({"page_count": "304.0"}, {"page_count": 304}, []),
        ({"page_count": "304 p."}, {"page_count": 304}, []),
        ({"page_count": "1,304"}, {"page_count": 1304}, []),
        ({"page_count": "0"}, {"page_count": None}, [notes.NO_PAGES]),
        ({"published_date": "9/16/2006"}, {"published_date": "2006-09-16"}, []),
        ({"published_date": "9/6/2006"}, {"published_date": "2006"}, [notes.REDUCED]),
        ({"published_date": "c2004"}, {"published_date": "2004"}, []),
        ({"published_date": "[1999]"}, {"published_date": "1999"}, []),
        ({"published_date": "Summer 2004"}, {"published_date": "2004"}, [notes.SEASON]),
        ({"published_date": "0101-01-01T00:00:00+00:00"}, {"published_date": None}, []),
        ({"isbn": '="0060853980"'}, {"isbn": "9780060853983"}, []),
        ({"isbn": "60853980"}, {"isbn": "9780060853983"}, [notes.ZEROS]),
        ({"isbn": "[0060853980]"}, {"isbn": "9780060853983"}, []),
        ({"isbn": "[]"}, {"isbn": None}, []),
        (
            {"isbn13": "9780060853983", "isbn": "123"},
            {"isbn": "9780060853983"},
            [notes.OTHER_ISBN],
        ),
        ({"identifiers": "amazon:1,isbn:9780060853983"}, {"isbn": "9780060853983"}, []),
        ({"identifiers": "amazon:0060853980"}, {"isbn": None}, []),
        ({"isbn_uid": "a1b2c3d4"}, {"isbn": None}, [notes.NO_ISBN]),
        ({"additional_authors": "Fuchs|Endl"}, {"author": "Ende, Fuchs, Endl"}, []),
        ({"additional_authors": "Fuchs, Ende"}, {"author": "Fuchs, Ende"}, []),
        ({"subtitle": "a tale"}, {"title": "Momo: a tale"}, []),
        ({"subtitle": "MOMO"}, {}, []),
        ({"publication": "Thienemann (1973), 304 p."}, {"publisher": "Thienemann"}, []),
        ({"publisher": "", "page_count": ""}, {"publisher": None, "page_count": None}, []),
        ({"publisher": "['A', 'B\\'s']"}, {"publisher": "A, B's"}, []),
        ({"publisher": "nan"}, {"publisher": None}, [notes.NOTHING]),
        ({"title": "a &lt; b<br>c"}, {"title": "a < b c"}, [notes.MARKUP]),
        ({"title": "1 < 2 &amp 3 > 2 &#0;"}, {"title": "1 < 2 &amp 3 > 2 &#0;"}, []),
        (
            {"isbn": "0060853981"},
            {},
            [notes.left_out("isbn", "The check digit of the ISBN is wrong.")],
        ),
    ],
    ids=str,
)
def test_a_record_is_repaired_to_a_book(values, book, repairs):
    assert read_book({**MOMO, **values}) == ({**MOMO, **book}, repairs)


def test_what_we_exported_is_not_repaired():
    book = {"title": "&amp;", "author": "N/A", "publisher": "<b>"}

    assert read_book(book, literal=True) == (book, [])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"title": ""}, "title: Must not be empty."),
        ({"author": "N/A"}, "author: Must not be empty."),
        ({"title": True}, "title: Must be text."),
        ({"title": "a\udcff"}, "title: Has bytes that are broken"),
        ({"published_date": "-500"}, "published_date: '-500' is not a date"),
        (
            {"published_date": "13/13/2006"},
            "published_date: '13/13/2006' is not a date that exists",
        ),
        ({"isbn": "9.78006E+12"}, "isbn: 9.78006E+12 has lost digits"),
        ({"isbn": "0060853981"}, "isbn: The check digit of the ISBN is wrong."),
        ({"page_count": "ten"}, "page_count: Must be a whole number."),
        ({"page_count": "-5"}, "page_count: Must be from 1 to 100000."),
    ],
    ids=str,
)
def test_what_cannot_be_a_book_has_a_reason(values, said):
    with pytest.raises(ValidationError) as refused:
        read_book({**MOMO, **values}, strict=True)

    assert reason(refused.value).startswith(said)


@pytest.mark.parametrize(
    "values",
    [
        *({"title": text} for text in ("", "  ", "x" * 501, "x" * 300_000, "a\0b")),
        *({"author": text} for text in ("", "x" * 1001)),
        *({"page_count": count} for count in (-1, 100_001, 1.5, "ten")),
        *({"isbn": text} for text in ("9783522119406", "abcdefghij")),
        *({"publisher": "x" * 501}, {"language": "x" * 36}),
    ],
    ids=lambda values: str(values)[:40],
)
def test_what_the_api_refuses_is_rejected_in_its_words(values):
    with pytest.raises(ValidationError) as by_api:
        BookInputSchema().load({**MOMO, **values})
    with pytest.raises(ValidationError) as by_import:
        read_book({**MOMO, **values}, strict=True)

    assert reason(by_import.value) == reason(by_api.value)


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["1/2/2003", "13/2/2003"], "D/M/YYYY"),
        (["1/2/2003", "2.13.2003"], "M/D/YYYY"),
        (["1/2/2003", " 13/2/2003"], "D/M/YYYY"),
        (["1/2/2003", "２/１３/２００３"], "M/D/YYYY"),  # noqa: RUF001
        (["13/2/2003", "2/13/2003"], None),
        (["1/2/2003", "2003", "13/2/03"], None),
    ],
)
def test_the_cells_of_a_column_decide_the_order_of_its_dates(cells, order):
    found = DateOrder()
    for cell in cells:
        found.look_at(cell)

    assert found.decided == order


def test_an_order_of_dates_that_no_cell_shows_is_said():
    found = DateOrder()
    found.look_at("1/2/2003")

    assert str(found) == "only the years of dates, since the order of day and month is unknown"


@pytest.mark.parametrize(
    ("cell", "date"),
    [
        ("Jul 31, 2014", "2014-07-31"),
        ("14 de septiembre de 2008", "2008-09-14"),
        ("14. září 2008", "2008-09-14"),
        ("14 сентября 2008", "2008-09-14"),
        ("14-Sep-2008", "2008-09-14"),
        ("01/01/2004", "2004-01-01"),
        ("25/12/2010", "2010-12-25"),
        ("3/14/2021 0:00", "2021-03-14"),
        ("8.0", "0008"),
        ("812", "0812"),
        ("Été 2004", "2004"),
        ("2008년 5월", "2008-05"),
    ],
)
def test_a_date_is_read(cell, date):
    assert parse_date(cell, None).text == date


@pytest.mark.parametrize(
    "cell",
    [
        *("May-04", "Mayflower 2004", "before 1900", "1990s", "500 BC", "98", "1998, c1997"),
        *("1998/99", "1999-00-05", "2004-02-30", "13/2010", "0000"),
        *("9" * 1_000_000, "1 " * 500_000),
    ],
    ids=lambda cell: cell[:20],
)
def test_what_is_no_certain_date_is_none(cell):
    with pytest.raises(ValueError, match=r"is not a date"):
        parse_date(cell, None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["Ende", None, {"name": "Fuchs"}], "Ende, Fuchs"),
        ([{"family": "Ende", "given": "Michael"}, {"literal": "Verein"}], "Michael Ende, Verein"),
        ({"date-parts": [[1998, 5, 1]]}, "1998-05-01"),
        ({"0": "a", "2": "b"}, "a, b"),
        ([{"key": "/languages/eng"}], "eng"),
        ([{"key": "/authors/OL9A"}], None),
        ({"lf": "Ende, Michael", "fl": "Michael Ende"}, "Michael Ende"),
        (1998, "1998"),
    ],
    ids=str,
)
def test_a_value_of_json_is_read_as_text(value, text):
    assert flatten(value) == text


@pytest.mark.parametrize("value", [True, {"x": "y"}, [[[[[["deep"]]]]]], {"date-parts": 5}])
def test_a_value_of_json_that_is_no_text_is_refused(value):
    with pytest.raises(ValueError, match="Must be"):
        flatten(value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "deeper than"),
        ('[{"title": "a", "author": "b", "x": ' + "[" * 100_000, "deeper than"),
        ('[{"title": "' + "x" * 9_000_000, "A record is longer than"),
        ('[{"title": "a", "author": "b", "page_count": ' + "9" * 5_000 + "}]", "integer overflow"),
        ('[{"title": "a\\ud800", "author": "b"}]', "lone surrogate"),
        ('[{"title": "a"}]', "No object in the JSON has a title and an author."),
        ("title,author\n" + '"a","b\n' * 20_000, "None of the first 10,000 rows has 2 columns."),
    ],
    ids=lambda value: value[:20],
)
def test_what_could_cost_much_is_refused(content, said):
    with pytest.raises(UnreadableCatalogue, match=said):
        records(content)


def test_more_records_than_are_allowed_are_refused_before_any_is_read():
    with pytest.raises(UnreadableCatalogue, match="More than 2 records"):
        open_catalogue(io.BytesIO(b"title,author\na,b\nc,d\ne,f\n"), records_max=2)


def test_a_first_line_may_be_long():
    csv.field_size_limit(131_072)  # as in a new process

    assert records(f"title,author,{'x' * 200_000}\nMomo,Ende,\n")[0].book == MOMO
