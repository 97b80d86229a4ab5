"""What becomes of whole files: the small ones of people's kinds, and the real catalogue."""

import csv
import gzip
import hashlib
import io

import pytest

from books_api.books.models import FIELDS
from books_api.catalogues.exceptions import UnknownColumn, UnreadableCatalogue
from books_api.catalogues.readers import open_catalogue
from books_api.catalogues.routes import FILES
from books_api.catalogues.uploads import FORMATS
from tests.processes import ROOT

DATA = ROOT / "tests" / "data"
MARLOW, HOLT = "Ansel Marlow", "Mina Holt"
ISBN = "9780306406157"


def read(name, **options):
    """Return the catalogue of a file, and its records."""
    content = (DATA / "catalogues" / name).read_bytes()
    catalogue = open_catalogue(io.BytesIO(content), **options)
    return catalogue, list(catalogue.records)


def books(name, **options):
    """Return the books of a file without what they have not; of a rejected record its reason."""
    return [
        record.reason or {name: value for name, value in record.book.items() if value is not None}
        for record in read(name, **options)[1]
    ]


def book(title, author=MARLOW, **values):
    return {"title": title, "author": author, **values}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("array.json", [book("The Blue Inn", isbn=ISBN), book("Grey Sea", HOLT)]),
        ("arraypretty.json", [book("The Blue Inn", isbn=ISBN), book("Grey Sea", HOLT)]),
        ("wrapped.json", [book("The Blue Inn", isbn=ISBN), book("Grey Sea", HOLT)]),
        ("list.jsonl", [book("The Blue Inn", "Ansel Marlow, Mina Holt", isbn=ISBN)]),
        ("ol.jsonl", ["author: Must not be empty."]),
        (
            "bq.csv",
            [
                book('The "Blue" Inn', publisher="Fernhill"),
                book("Plain", HOLT, publisher="Weide"),
            ],
        ),
        (
            "editions.csv",
            [
                book("The Blue Inn", publisher="Fernhill 1998 edition"),
                book("The Blue Inn", publisher="Weide 2006 edition"),
            ],
        ),
        (
            "ent.csv",
            [
                "author: Must not be empty.",
                book('"Café" & Co \'98', publisher="Holt & Sons", language="en"),
                book("Bold Book", HOLT),
            ],
        ),
        (
            "names.csv",
            [
                book(
                    "The Blue Inn",
                    published_date="1998-05-01",
                    page_count=210,
                    language="en",
                    isbn=ISBN,
                )
            ],
        ),
        ("readlog.csv", [book("The Blue Inn"), book("Grey Sea", HOLT)]),
        (
            "subtitle.csv",
            [book("City Tales: The blue door"), book("City Tales: The red door")],
        ),
        ("twoauth.csv", [book("The Blue Inn", "Ansel Marlow, Mina Holt")]),
    ],
)
def test_a_file_becomes_books(name, expected):
    assert books(name) == expected


def test_every_form_of_date_is_read_in_the_order_of_its_column():
    expected = {
        "2010-12-25": [0],
        "2010-06-05": [1],
        "2008-09-14": [3, 4, 5, 17],
        "2005-01-01": [6],
        "2005-09-14": [7, 10, 11],
        "2005-09-04": [8, 9],
        "2004": [12, 13, 23],
        "1999": [14, 15, 18],
        "2008": [16, 32],
        "1999-05": [19],
        "2004-05": [24],
        "2010-05": [25, 26],
        "1850": [30],
        "2008-05": [33],
        "1900-01-01": [36],
        None: [2, 20, 21, 22, 27, 28, 29, 31, 34, 35, 37, 38],
    }
    catalogue, records = read("dates.csv")

    found: dict[str | None, list[int]] = {}
    for number, record in enumerate(records):
        found.setdefault(record.book.get("published_date"), []).append(number)
    assert found == expected
    assert "dates as D/M/YYYY" in catalogue.description
    left_out = [number for number, record in enumerate(records) if "left out" in str(record.notes)]
    assert left_out == expected[None]


def test_every_form_of_isbn_is_read_or_left_out():
    unknown = range(18, 27)  # n/a and the like
    left_out = [6, 10, 12, 13, 14, 15, 16, 17, 30]
    _, records = read("isbn.csv")

    for number, record in enumerate(records):
        expected = {31: "9780804429573", 32: "9780804429573"}.get(number, ISBN)
        is_left_out, is_unknown = number in left_out, number in unknown
        assert record.book.get("isbn") == (None if is_left_out or is_unknown else expected), number
        assert ("left out" in str(record.notes)) == is_left_out
        assert ("taken as unknown" in str(record.notes)) == is_unknown


@pytest.mark.parametrize(
    ("name", "encoding", "title", "author"),
    [
        ("enc_cp1250.csv", None, "Żółta łódź", "Łukasz Ćwik"),
        ("enc_cp1251.csv", None, "Синий трактир", "Ансель Марлов"),
        ("enc_gbk.csv", None, "蓝色客栈", "马洛"),
        ("enc_utf-16-le.csv", None, "Синий трактир", "Ансель Марлов"),
        ("enc_shift_jis.csv", "shift_jis", "青い宿屋", "石川一郎"),
        ("enc_latin-1.csv", "latin-1", "Café bleu à l'été", "Zoë Müller"),
        ("enc_cp1250.csv", "cp1250", "Żółta łódź", "Łukasz Ćwik"),
    ],
)
def test_the_letters_of_an_encoding_are_right(name, encoding, title, author):
    assert books(name, encoding=encoding) == [book(title, author)]


@pytest.mark.parametrize(
    ("name", "readings"),
    [
        ("enc_latin-1.csv", ["cp1252 (Café bleu à l'été,Zoë Müller)", "cp1250 (Café bleu ŕ"]),
        ("enc_shift_jis.csv", ["cp932 (青い宿屋,石川一郎)"]),
    ],
)
def test_an_uncertain_encoding_is_refused_with_what_it_may_be(name, readings):
    with pytest.raises(UnreadableCatalogue) as refused:
        read(name)

    assert [reading for reading in readings if reading not in str(refused.value)] == []


def test_quotes_behind_backslashes_and_entities_are_read():
    assert [(book["title"], book["publisher"]) for book in books("bx.csv")] == [
        ('A Night at the "Blue Lamp" Inn', "Fernhill & Sons"),
        ("Die Maßnahme und die Äpfel", "Ullstein"),
        ('"Quoted" at the start', "Goldmann"),
        ("Plain title", "HarperPerennial"),
        ('No number "here"', "Harper; Row"),
        ('Tail quote "', "Harper"),
    ]


@pytest.mark.parametrize(
    ("name", "format"), [("b.bib", "BibTeX"), ("b.ris", "RIS"), ("onix_oneline.xml", "ONIX")]
)
def test_a_file_that_is_no_table_is_named(name, format):
    with pytest.raises(UnreadableCatalogue, match=rf"^The file is {format}, not a table"):
        read(name)


@pytest.mark.parametrize(
    ("start", "format"),
    [
        (b"PK\3\4" + bytes(26) + b"mimetypeapplication/epub+zip", "an EPUB book"),
        (b"PK\3\4" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument", "an OpenDoc"),
        (b"PK\3\4" + bytes(26) + b"[Content_Types].xml", "an Excel workbook"),
        (b"PK\3\4" + bytes(26) + b"books.csv", "a zip archive"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), "an old Excel workbook"),
        (b"00714cam a2200205 a 4500001", "MARC 21"),
        (b'<?xml version="1.0"?>\n<collection xmlns="http://www.loc.gov/MARC21/slim">', "MARCXML"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><ONIXMessage>', "ONIX"),
        (b'<feed xmlns="http://www.w3.org/2005/Atom">', "a feed"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"<records><record/></records>", "XML"),
        (b"%0 Book\n%T The Blue Inn", "EndNote"),
        (b"% by JabRef\n\n@Book{marlow98,", "BibTeX"),
        (b"%PDF-1.7", "a PDF"),
        (b"SQLite format 3\0", "a SQLite database"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_every_format_that_is_no_table_is_named(start, format):
    with pytest.raises(UnreadableCatalogue, match=rf"^The file is {format}"):
        open_catalogue(io.BytesIO(start))


@pytest.mark.parametrize(
    ("name", "unused"),
    [("names.csv", ["year", "Publication Year"]), ("readlog.csv", ["Date", "Rating"])],
)
def test_columns_that_are_not_used_are_named(name, unused):
    catalogue, _ = read(name)

    assert catalogue.description.endswith(f"; not used: {', '.join(unused)}")


def test_the_real_catalogue_is_read_as_ever():
    """The digest is that of its export by release 1.0, which rejected an unreadable date."""
    content = gzip.decompress((DATA / "goodreads_books.csv.gz").read_bytes())
    exported = io.StringIO()
    writer = csv.DictWriter(exported, FIELDS)
    writer.writeheader()
    rejected = []
    for record in open_catalogue(io.BytesIO(content), strict=True).records:
        if record.reason:
            rejected.append(record.line)
        else:
            writer.writerow(record.book)

    assert rejected == [3350, 4704, 5879, 8182, 8981, 11100]
    assert hashlib.sha256(exported.getvalue().encode()).hexdigest() == (
        "884e49f0048fcbbda2496bac9233171de83e898bc3d1e524d8c8115761229d19"
    )


def test_a_date_that_does_not_exist_costs_no_book():
    records = list(open_catalogue(io.BytesIO((DATA / "defects.csv").read_bytes())).records)

    undated = [record.line for record in records if "published_date" in str(record.notes)]
    assert (undated, sum(record.reason is None for record in records)) == ([27, 37], 32)


INN = book("The Blue Inn", isbn=ISBN)
KNOWN = {
    "Calibre": (
        "author_sort,authors,id,identifiers,languages,pubdate,publisher,title,title_sort,uuid\n"
        '"Marlow, Ansel",Ansel Marlow,1,"isbn:9780306406157,amazon:B00",eng,'
        '1998-05-01T00:00:00+02:00,Fernhill,The Blue Inn,"Blue Inn, The",x\n',
        {"publisher": "Fernhill", "published_date": "1998-05-01", "language": "eng"},
    ),
    "BookWyrm": (
        "title,author_text,remote_id,isbn_10,isbn_13,start_date,finish_date,rating,shelf\n"
        "The Blue Inn,Ansel Marlow,https://x.example/1,0306406152,,2020-01-01,2020-02-01,4,read\n",
        {},
    ),
    "Zotero": (
        "Key,Item Type,Publication Year,Author,Title,ISBN,Date,Pages,Num Pages,Publisher,Rating\n"
        'A,book,1998,Ansel Marlow,The Blue Inn,"0306406152 978-0-306-40615-7",May 1998,,210,F,\n',
        {"published_date": "1998-05", "page_count": 210, "publisher": "F"},
    ),
    "CSL-JSON": (
        '[\n{"id": "m", "title": "The Blue Inn", "author": [{"family": "Marlow", "given": "Ansel"}]'
        ', "issued": {"date-parts": [[1998, 5]]}, "ISBN": "0306406152", "number-of-pages": 210}]',
        {"published_date": "1998-05", "page_count": 210},
    ),
    "BookBuddy": (
        'Title,Subtitle,Author,"Author (Last, First)",Publisher,Date Published,Year Published,'
        "Edition,Rating,Date Started,ISBN\n"
        'The Blue Inn,,Ansel Marlow,"Marlow, Ansel",Fernhill,1998/05/01,1998,1,,,9780306406157\n',
        {"publisher": "Fernhill", "published_date": "1998-05-01"},
    ),
    "Openreads": (
        "title,subtitle,author,description,status,rating,pages,isbn,publication_year,readings\n"
        'The Blue Inn,,Ansel Marlow,"x, y",finished,4,210,9780306406157,1998,\n',
        {"published_date": "1998", "page_count": 210},
    ),
    "LibraryThing": (
        '{"7": {"title": "The Blue Inn", "authors": [{"lf": "x, y", "fl": "Ansel Marlow"}],'
        ' "primaryauthor": "Marlow, Ansel", "publication": "Fernhill (1998), 210 pages",'
        ' "date": "1998", "language": ["English"], "isbn": {"0": "0306406152"}}}',
        {"publisher": "Fernhill", "published_date": "1998", "language": "English"},
    ),
    "Open Library": (
        '{"numFound": 1, "docs": [{"title": "The Blue Inn", "author_name": ["Ansel Marlow"],'
        ' "first_publish_year": 1998, "isbn": ["0306406152"], "publisher": ["Fernhill"]}]}',
        {"publisher": "Fernhill", "published_date": "1998"},
    ),
}
HEADINGS = [
    "Titel;Autor;Verlag;Erscheinungsjahr;Seitenzahl;Sprache",
    "Titre;Auteur;Éditeur;Date de parution;Nombre de pages;Langue",
    "Título;Autor;Editorial;Año de publicación;Nº de páginas;Idioma",
    "Titolo;Autore;Casa editrice;Anno di pubblicazione;Pagine;Lingua",
    "Título;Autor;Editora;Ano;Páginas;Língua",
    "Titel;Schrijver;Uitgeverij;Jaar van uitgave;Aantal pagina's;Taal",
    "Tytuł;Autor;Wydawnictwo;Rok wydania;Liczba stron;Język",
    "Název;Autor;Nakladatelství;Rok vydání;Počet stran;Jazyk",
    "Название;Автор;Издательство;Год издания;Количество страниц;Язык",
]


@pytest.mark.parametrize("program", KNOWN)
def test_an_export_of_a_program_is_known(program):
    content, values = KNOWN[program]

    [record] = open_catalogue(io.BytesIO(content.encode())).records

    found = {name: value for name, value in record.book.items() if value is not None}
    assert found == {**INN, **values}


@pytest.mark.parametrize("headings", HEADINGS)
def test_headings_are_known_in_ten_languages(headings):
    content = f"{headings}\nThe Blue Inn;Ansel Marlow;Fernhill;1998;210;en\n".encode()

    [record] = open_catalogue(io.BytesIO(content)).records

    values = {"publisher": "Fernhill", "published_date": "1998", "page_count": 210}
    assert record.book == book("The Blue Inn", **values, language="en")


def test_a_file_without_headings_is_told_from_one_with_unknown_ones():
    with pytest.raises(UnknownColumn, match="The first line is a record and names no columns"):
        open_catalogue(io.BytesIO(b"The Blue Inn,Ansel Marlow,1998\n"))


def test_every_format_that_is_read_is_documented():
    assert FORMATS.keys() == FILES.keys()


def parsed(content, **options):
    return [
        record.book for record in open_catalogue(io.BytesIO(content.encode()), **options).records
    ]


@pytest.mark.parametrize(
    "record",
    [
        '{"title": "a", "author": "b", "date": "25/12/2010", "rating": 1, "pubdate": "%s"}',
        '{"title": "a", "author": "b", "x": {"pubdate": "25/12/2010"}, "pubdate": "%s"}',
        '{"title": "a", "author": "b", "Year": "%s"}',
    ],
    ids=["unused key", "deeper key", "key of a year"],
)
def test_the_key_of_the_date_decides_its_order_in_a_document(record):
    dates = "5/6/2010", "12/31/1999"

    books = parsed(f"[{', '.join(record % date for date in dates)}]")

    assert [book["published_date"] for book in books] == ["2010-05-06", "1999-12-31"]


def test_other_arrays_of_a_document_do_not_decide_the_order_of_dates():
    other = '[{"title": "a", "pubdate": "25/12/2010"}]'
    record = '{"title": "a", "author": "b", "pubdate": "5/6/2010"}'

    books = parsed(f'{{"x": {other}, "y": [{record}], "z": {other}}}')

    assert [book["published_date"] for book in books] == ["2010"]


def test_the_keys_of_a_document_are_mapped():
    mapping = {"title": "Werk", "published_date": "When"}

    books = parsed('[{"Werk": "a", "author": "b", "When": "5/25/2010"}]', mapping=mapping)

    assert books == [book("a", "b", published_date="2010-05-25")]


@pytest.mark.parametrize("key", ["ID", "Id "])
def test_our_ids_in_a_document_are_known_by_any_spelling(key):
    own = "0f8fad5b-d9cb-469f-a165-70867728950e"
    content = f'[{{"title": "a", "author": "b", "{key}": "{own}", "x": 1}}]'.encode()

    catalogue = open_catalogue(io.BytesIO(content))

    assert catalogue.columns["id"] == key


def test_ids_deeper_in_a_document_are_not_ours():
    own = "0f8fad5b-d9cb-469f-a165-70867728950e"
    content = f'[{{"title": "a", "author": "b", "id": 1, "x": {{"id": "{own}"}}}}]'.encode()

    assert "id" not in open_catalogue(io.BytesIO(content)).columns
