"""Catalogues as people have them: dialects, delimiters, encodings, formats."""

import gzip
import io

import pytest

from books_api.catalogues.readers import open_catalogue
from tests.catalogues.conftest import fields_of

FIELDS = ("title", "author", "publisher", "published_date", "page_count", "language", "isbn")
HALF_BLOOD = "9780439785969"
HUNGER_GAMES = "9780439023481"
MOMO = ("Momo", "Michael Ende", "Thienemann", "1973", 304, "de", "9783522119405")
MOMO_CSV = "title,author,publisher,published_date,page_count,language,isbn\n" + ",".join(
    map(str, MOMO)
)
MOMO_JSON = (
    '{"title": "Momo", "author": "Michael Ende", "publisher": "Thienemann",'
    ' "published_date": "1973", "page_count": 304, "language": "de", "isbn": "3522119401"}\n'
)
GOODREADS = (
    "Book Id,Title,Author,Author l-f,Additional Authors,ISBN,ISBN13,My Rating,Average Rating,"
    "Publisher,Binding,Number of Pages,Year Published,Original Publication Year,Date Read,"
    "Date Added,Bookshelves,My Review\n"
    '1,"Harry Potter and the Half-Blood Prince (Harry Potter, #6)",J.K. Rowling,"Rowling, J.K.",'
    '"Mary GrandPré, Jim Dale","=""0439785960""","=""9780439785969""",5,4.57,Scholastic,Hardcover,'
    '652,2006,2005,,2020/01/02,read,"Two\nlines, ""quoted"""\n'
)
GOODBOOKS = (
    "book_id,goodreads_book_id,books_count,isbn,isbn13,authors,original_publication_year,"
    "original_title,title,language_code,average_rating\n"
)
STORYGRAPH = (
    "Title,Authors,Contributors,ISBN/UID,Format,Read Status,Date Added,Last Date Read,"
    "Dates Read,Read Count\n"
)
LIBRARYTHING = (
    "Book Id\tTitle\tSort Character\tPrimary Author\tPrimary Author Role\tSecondary Author\t"
    "Publication\tDate\tPage Count\tLanguages\tISBN\n"
)


def records_of(content, **options):
    raw = content if isinstance(content, bytes) else content.encode()
    return list(open_catalogue(io.BytesIO(raw), **options).records)


def book_of(content, **options):
    """Return the book of a catalogue of one record."""
    [record] = records_of(content, **options)
    return tuple(map(record.book.get, FIELDS))


def test_goodreads_books():
    book = book_of(
        "bookID,title,authors,average_rating,isbn,isbn13,language_code,  num_pages,ratings_count,"
        "text_reviews_count,publication_date,publisher\n"
        "1,Half-Blood Prince,J.K. Rowling/Mary GrandPré,4.57,0439785960,9780439785969,eng,652,"
        "2095690,27591,9/16/2006,Scholastic Inc.\n"
    )

    assert book == (
        "Half-Blood Prince",
        "J.K. Rowling/Mary GrandPré",
        "Scholastic Inc.",
        "2006-09-16",
        652,
        "eng",
        HALF_BLOOD,
    )


@pytest.mark.parametrize("written", ['"=""{}"""', '="{}"'])
def test_an_export_of_goodreads(written):
    book = book_of(GOODREADS.replace('"=""0439785960"""', written.format("0439785960")))

    assert book == (
        "Harry Potter and the Half-Blood Prince (Harry Potter, #6)",
        "J.K. Rowling, Mary GrandPré, Jim Dale",
        "Scholastic",
        "2006",
        652,
        None,
        HALF_BLOOD,
    )


def test_an_export_of_goodreads_without_isbn():
    empty = GOODREADS.replace("0439785960", "").replace("9780439785969", "")

    assert book_of(empty)[-1] is None


@pytest.mark.parametrize(
    ("uid", "isbn"),
    [("9780439785969", HALF_BLOOD), ("", None), ("B08XYZ1234", None), ("8f2c-77aa-01", None)],
)
def test_an_export_of_storygraph(uid, isbn):
    book = book_of(
        f'{STORYGRAPH}Half-Blood Prince,"J.K. Rowling, Jim Dale",,{uid},audio,read,,,,1\n'
    )

    assert book == ("Half-Blood Prince", "J.K. Rowling, Jim Dale", None, None, None, None, isbn)


@pytest.mark.parametrize(
    ("title", "isbn", "expected"),
    [
        ("Half-Blood Prince", "[0439785960]", HALF_BLOOD),
        ('"A" is for Alibi', "[]", None),
        ("Half-Blood Prince", "", None),
    ],
)
def test_an_export_of_librarything(title, isbn, expected):
    book = book_of(
        f"{LIBRARYTHING}1\t{title}\t1\tRowling, J. K.\tAuthor\tDale, Jim|GrandPré, Mary\t"
        f"Scholastic (2006)\t2006-07\t652\tEnglish\t{isbn}\n"
    )

    authors = "Rowling, J. K., Dale, Jim, GrandPré, Mary"
    assert book == (title, authors, "Scholastic", "2006-07", 652, "English", expected)


@pytest.mark.parametrize(
    ("isbn", "isbn13", "year", "expected"),
    [
        ("439023483", "9.78043902348e+12", "2008.0", ("2008", HUNGER_GAMES)),
        ("0439023483", "", "2008.0", ("2008", HUNGER_GAMES)),
        ("", "", "850.0", ("0850", None)),
        ("647988X", "", "", (None, "9780006479888")),
    ],
)
def test_goodbooks_10k(isbn, isbn13, year, expected):
    book = book_of(
        f"{GOODBOOKS}1,2767052,272,{isbn},{isbn13},Suzanne Collins,{year},The Hunger Games,"
        '"The Hunger Games (The Hunger Games, #1)",eng,4.34\n'
    )

    assert (book[3], book[-1]) == expected
    assert book[0] == "The Hunger Games (The Hunger Games, #1)"


@pytest.mark.parametrize(
    ("isbn13", "year", "reason"),
    [
        ("9.78043902348e+12", "", "isbn: 9.78043902348e+12 has lost digits"),
        ("9,78E+12", "", "isbn: 9,78E+12 has lost digits"),
        ("", "-750.0", "published_date: '-750.0' is not a date"),
    ],
)
def test_what_goodbooks_10k_has_lost_is_rejected(isbn13, year, reason):
    content = f'{GOODBOOKS}1,1,9,,"{isbn13}",Homer,{year},,The Iliad,eng,4\n'

    [record] = records_of(content, strict=True)

    assert record.reason.startswith(reason)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_are_recognised(end):
    assert book_of(MOMO_CSV.replace("\n", end) + end) == MOMO


def test_a_letter_far_behind_tells_the_encoding():
    filler = f"Momo,Ende,{'x' * 500_000}\n" * 5
    content = f"title,author,notes\n{filler}Ça œuvre naïve €,Zoë,\n".encode("cp1252")

    assert records_of(content)[-1].book["title"] == "Ça œuvre naïve €"


def test_a_broken_byte_costs_its_record_and_not_the_letters_of_the_others():
    content = "title,author\nÇa,Zoë\nMomo,Ende\n".encode().replace(b"Momo", b"Mo\xffmo")

    good, bad = records_of(content)

    assert (good.book["title"], bad.book) == ("Ça", {})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"title,author\nMo\xed\xa0\x80mo,Ende\n", "lone surrogate"),
        ("title,author\nMo\ud800mo,Ende\n".encode("utf-16", "surrogatepass"), "lone surrogate"),
        (b"title,author\nMo\0mo,Ende\n", "NUL character"),
    ],
    ids=["utf-8", "utf-16", "NUL"],
)
def test_text_that_cannot_be_stored_is_rejected_in_the_apis_words(content, found):
    [record] = records_of(content)

    assert record.reason == f"title: Must not contain a {found}."


@pytest.mark.long
def test_rejected_bytes_are_kept_as_they_were(run_import, tmp_path):
    run_import(b"title,author\nMo\xed\xa0\x80mo,Ende\n")

    rejected = (tmp_path / "books.csv.rejected.csv").read_bytes()
    assert b"Mo\xed\xa0\x80mo,Ende\r\n" in rejected


@pytest.mark.long
@pytest.mark.parametrize("content", [MOMO_CSV, MOMO_JSON], ids=["csv", "jsonl"])
def test_gzip_is_read_as_it_is(run_import, stored, content):
    run_import(gzip.compress(content.encode()), name="books.gz")

    assert stored(*FIELDS) == [MOMO]


@pytest.mark.long
@pytest.mark.parametrize("name", ["books.jsonl", "books.ndjson", "books", "books.txt"])
def test_json_lines_are_known_by_name_or_content(run_import, stored, name):
    run_import(MOMO_JSON, name=name)

    assert stored(*FIELDS) == [MOMO]


@pytest.mark.long
def test_the_name_decides_where_the_content_does_not(run_import, stored):
    run_import("[]\n" + MOMO_JSON, name="books.jsonl")

    assert stored("title") == ["Momo"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Is not JSON"),
        ("[]", "Must be a JSON object."),
        ("5", "Must be a JSON object."),
        ('{"title": "\\ud800", "author": "Ende"}', "Is not JSON"),
        ('{"title": NaN, "author": "Ende"}', "Is not JSON"),
        ("[" * 100_000, "Is not JSON"),
        ("{}", "title: Is required. author: Is required."),
        ('{"title": "a", "Title": "b", "author": "Ende"}', "Several columns are known as title"),
    ],
    ids=lambda value: value[:20],
)
def test_a_line_that_is_no_book_is_rejected_and_not_the_next(line, reason):
    bad, good = records_of(f"{line}\n\n{MOMO_JSON}", format="jsonl")

    assert bad.reason.startswith(reason)
    assert good.book["title"] == "Momo"


@pytest.mark.long
def test_a_mapping_goes_before_what_is_known_by_name(run_import, stored):
    run_import(
        "title,original_title,author,isbn13,isbn\nMomo,Momo oder,Ende,junk,9783522119405\n",
        *("--map", "title=original_title", "--map", "isbn=isbn"),
    )

    assert stored("title", "isbn") == [("Momo oder", "9783522119405")]


@pytest.mark.long
@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_text_of_any_kind_survives_a_round_trip(
    run_import, run_export, client, alice, bob, make_book, format_
):
    for title in (
        "a\rb",
        "a\nb",
        "a\r\nb",
        "\\.",
        "a\n\\.\nb",
        '"',
        '""a,b"',
        "=1+1",
        "😀\u2028",
    ):
        make_book(alice, title=title, author="a\tb|c;d")
    exported = run_export("--owner", alice.email, "--format", format_)

    run_import(exported, "--duplicates", owner=bob.email, name="books")

    again = run_export("--owner", bob.email, "--format", format_)
    assert fields_of(again, format_) == fields_of(exported, format_)


@pytest.mark.long
def test_standard_input_is_read(app, alice, stored):
    arguments = ["books", "import", "-", "--owner", alice.email]

    result = app.test_cli_runner().invoke(args=arguments, input=io.BytesIO(MOMO_CSV.encode()))

    assert (result.exit_code, stored("title")) == (0, ["Momo"])
