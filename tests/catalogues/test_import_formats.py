"""Catalogues as people have them: dialects, delimiters, encodings, formats."""

import gzip
import io

import pytest

from tests.catalogues.conftest import fields_of

pytestmark = pytest.mark.long

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


@pytest.fixture
def book_of(run_import, stored):
    """Import a catalogue of one record and return its book."""

    def book_of(content, *options, **values):
        result = run_import(content, *options, **values)
        books = stored(*FIELDS)
        assert len(books) == 1, result.output
        return books[0]

    return book_of


def test_goodreads_books(book_of):
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
def test_an_export_of_goodreads(book_of, written):
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


def test_an_export_of_goodreads_without_isbn(book_of):
    empty = GOODREADS.replace("0439785960", "").replace("9780439785969", "")

    assert book_of(empty)[-1] is None


@pytest.mark.parametrize(
    ("uid", "isbn"),
    [("9780439785969", HALF_BLOOD), ("", None), ("B08XYZ1234", None), ("8f2c-77aa-01", None)],
)
def test_an_export_of_storygraph(book_of, uid, isbn):
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
def test_an_export_of_librarything(book_of, title, isbn, expected):
    book = book_of(
        f"{LIBRARYTHING}1\t{title}\t1\tRowling, J. K.\tAuthor\tDale, Jim|GrandPré, Mary\t"
        f"Scholastic (2006)\t2006-07\t652\tEnglish\t{isbn}\n",
        name="librarything.tsv",
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
def test_goodbooks_10k(book_of, isbn, isbn13, year, expected):
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
def test_what_goodbooks_10k_has_lost_is_rejected(
    run_import, stored, tmp_path, isbn13, year, reason
):
    run_import(f'{GOODBOOKS}1,1,9,,"{isbn13}",Homer,{year},,The Iliad,eng,4\n', "--strict")

    assert stored("id") == []
    assert reason in (tmp_path / "books.csv.rejected.csv").read_text()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_recognised(book_of, delimiter):
    assert book_of(MOMO_CSV.replace(",", delimiter)) == MOMO


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_are_recognised(book_of, end):
    assert book_of(MOMO_CSV.replace("\n", end) + end) == MOMO


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-8", "UTF-8;"),
        ("utf-8-sig", "UTF-8 with BOM;"),
        ("utf-16", "UTF-16;"),
        ("cp1252", "Windows-1252;"),
    ],
)
@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_encodings_are_recognised(run_import, stored, codec, name, format_):
    content = {
        "csv": "title,author\nÇa œuvre naïve €,Zoë\n",
        "jsonl": '{"title": "Ça œuvre naïve €", "author": "Zoë"}\n',
    }

    result = run_import(content[format_].encode(codec), name="books")

    assert stored("title", "author") == [("Ça œuvre naïve €", "Zoë")]
    assert name.rstrip(";") in result.stderr.splitlines()[0]


def test_a_letter_far_behind_tells_the_encoding(run_import, stored):
    filler = f"Momo,Ende,{'x' * 500_000}\n" * 5
    content = f"title,author,notes\n{filler}Ça œuvre naïve €,Zoë,\n".encode("cp1252")

    run_import(content)

    assert stored("title") == ["Momo", "Ça œuvre naïve €"]


def test_a_broken_byte_costs_its_record_and_not_the_letters_of_the_others(run_import, stored):
    content = "title,author\nÇa,Zoë\nMomo,Ende\n".encode().replace(b"Momo", b"Mo\xffmo")

    result = run_import(content)

    assert (stored("title"), result.exit_code) == (["Ça"], 3)


@pytest.mark.parametrize(
    "content",
    [
        b"title,author\nMo\xed\xa0\x80mo,Ende\n",
        "title,author\nMo\ud800mo,Ende\n".encode("utf-16", "surrogatepass"),
    ],
    ids=["utf-8", "utf-16"],
)
def test_a_lone_surrogate_is_rejected_in_the_apis_words(run_import, tmp_path, content):
    run_import(content)

    rejected = (tmp_path / "books.csv.rejected.csv").read_bytes()
    assert b"title: Must not contain a lone surrogate." in rejected


def test_rejected_bytes_are_kept_as_they_were(run_import, tmp_path):
    run_import(b"title,author\nMo\xed\xa0\x80mo,Ende\n")

    rejected = (tmp_path / "books.csv.rejected.csv").read_bytes()
    assert b"Mo\xed\xa0\x80mo,Ende\r\n" in rejected


@pytest.mark.parametrize("content", [MOMO_CSV, MOMO_JSON], ids=["csv", "jsonl"])
def test_gzip_is_read_as_it_is(book_of, content):
    assert book_of(gzip.compress(content.encode()), name="books.gz") == MOMO


@pytest.mark.parametrize("name", ["books.jsonl", "books.ndjson", "books", "books.txt"])
def test_json_lines_are_known_by_name_or_content(book_of, name):
    assert book_of(MOMO_JSON, name=name) == MOMO


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
def test_a_line_that_is_no_book_is_rejected_and_not_the_next(
    run_import, stored, tmp_path, line, reason
):
    run_import(f"{line}\n\n{MOMO_JSON}", name="books.jsonl")

    assert stored("title") == ["Momo"]
    assert reason in (tmp_path / "books.jsonl.rejected.csv").read_text()


def test_columns_are_mapped(book_of):
    book = book_of(
        "Titel,Verfasser,ISBN13\nMomo,Ende,\n", "--map", "title=Titel", "--map", "author=Verfasser"
    )

    assert book[:2] == ("Momo", "Ende")


def test_a_mapping_goes_before_what_is_known_by_name(book_of):
    book = book_of(
        "title,original_title,author,isbn13,isbn\nMomo,Momo oder,Ende,junk,9783522119405\n",
        *("--map", "title=original_title", "--map", "isbn=isbn"),
    )

    assert (book[0], book[-1]) == ("Momo oder", "9783522119405")


def test_json_keys_are_mapped(book_of):
    assert (
        book_of('{"Titel": "Momo", "author": "Ende"}', "--map", "title=Titel", name="books")[0]
        == "Momo"
    )


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("1973", "1973"),
        ("1973-09", "1973-09"),
        ("1973-09-01", "1973-09-01"),
        ("9/13/1973", "1973-09-13"),
        ("1973.0", "1973"),
        ("850", "0850"),
        ("", None),
    ],
)
def test_dates_keep_their_precision(book_of, written, date):
    assert book_of(f"title,author,date\nMomo,Ende,{written}\n")[3] == date


def test_the_order_of_dates_is_said(run_import):
    result = run_import("title,author,date\na,b,1973\nc,d,9/13/1973\n")

    assert "dates as M/D/YYYY" in result.stderr


def test_line_breaks_in_cells_are_kept(book_of):
    assert book_of('title,author\n"Mo\nmo","En\r\nde"\n')[:2] == ("Mo\nmo", "En\r\nde")


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


def test_a_quote_that_is_not_closed_costs_its_line_only(run_import, stored):
    filler = "".join(f"Book {number},Somebody,x\n" for number in range(50))

    result = run_import(f'title,author,notes\nMomo,Ende,"x\n{filler}')

    assert (len(stored("id")), result.exit_code) == (50, 3)


def test_standard_input_is_read(app, alice, stored):
    arguments = ["books", "import", "-", "--owner", alice.email]

    result = app.test_cli_runner().invoke(args=arguments, input=io.BytesIO(MOMO_CSV.encode()))

    assert (result.exit_code, stored("title")) == (0, ["Momo"])
