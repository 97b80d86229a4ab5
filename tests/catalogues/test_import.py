"""`flask books import`: what becomes of each record, and what is said of it."""

import csv
import gzip
import os
import re
from pathlib import Path

import pytest
from sqlalchemy import text

from books_api.catalogues.records import REPAIRS
from books_api.database import autocommit
from tests.catalogues.conftest import fields_of
from tests.processes import ROOT

pytestmark = pytest.mark.long

DATA = ROOT / "tests" / "data"
CATALOGUE = DATA / "goodreads_books.csv.gz"
HEADER = "title,author,publisher,published_date,page_count,language,isbn\n"
MOMO = HEADER + "Momo,Michael Ende,Thienemann,1973,304,de,9783522119405\n"
NO_ISBN = "title,author,published_date,publisher\n"


def counts(result):
    """The four numbers of the summary."""
    return tuple(
        int(number.replace(",", "")) for number in re.findall("[0-9][0-9,]*", result.stdout)[:4]
    )


def rejected(tmp_path, name="books.csv"):
    """The records of the file of rejected ones."""
    with (tmp_path / f"{name}.rejected.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


@pytest.fixture(scope="module")
def catalogue():
    return gzip.decompress(CATALOGUE.read_bytes())


@pytest.fixture
def sample(run_import):
    """The import of a few records with every defect of the catalogue."""
    return run_import((DATA / "defects.csv").read_bytes(), "--strict")


def test_the_whole_catalogue_is_imported_but_for_six_records(run_import, catalogue, stored):
    first = run_import(catalogue, "--strict")
    again = run_import(catalogue, "--strict")

    assert (counts(first), first.exit_code) == ((11_127, 11_121, 0, 6), 3)
    assert (counts(again), again.exit_code) == ((11_127, 0, 11_121, 6), 3)
    assert stored("page_count").count(None) == 76


def test_the_whole_catalogue_comes_back_from_its_exports(
    run_import, run_export, catalogue, alice, bob, admin
):
    run_import(catalogue)
    owners = {"csv": bob.email, "jsonl": admin.email}
    exports = {name: run_export("--owner", alice.email, "--format", name) for name in owners}

    for name, owner in owners.items():
        result = run_import(exports[name], name=f"export.{name}", owner=owner)
        assert (counts(result), result.exit_code) == ((11_123, 11_123, 0, 0), 0)

    for name, owner in owners.items():
        again = run_export("--owner", owner, "--format", name)
        assert fields_of(again, name) == fields_of(exports[name], name)


def test_rejected_records_have_line_and_reason(sample, tmp_path):
    found = [(int(line), reason, book) for line, reason, book, *_ in rejected(tmp_path)]

    assert found == [
        (18, "Has 13 columns; expected 12.", "12224"),
        (21, "Has 13 columns; expected 12.", "16914"),
        (25, "Has 13 columns; expected 12.", "22128"),
        (
            27,
            "published_date: '11/31/2000' is not a date that exists.",
            "31373",
        ),
        (29, "Has 13 columns; expected 12.", "34889"),
        (37, "published_date: '6/31/1982' is not a date that exists.", "45531"),
    ]


def test_repairs_are_counted(sample):
    assert [line for line in sample.stdout.splitlines() if line.startswith("Repaired")] == [
        "Repaired: 9 x bad isbn13 or isbn left out beside a good one.",
        "Repaired: 5 x page count 0 taken as unknown.",
        "Repaired: 4 x line with unbalanced quotes read literally.",
    ]


def test_the_isbn13_counts_when_the_isbn_is_another_books(run_import, stored):
    run_import("title,author,isbn,isbn13\nMomo,Ende,0439785960,9783522119405\n")

    assert stored("isbn") == ["9783522119405"]


# Counts and exit statuses


def test_all_taken_is_status_0(run_import):
    assert run_import(MOMO).exit_code == 0


def test_already_there_counts_as_taken(run_import):
    run_import(MOMO)

    again = run_import(MOMO)

    assert (counts(again), again.exit_code) == ((1, 0, 1, 0), 0)


def test_some_rejected_is_status_3(run_import):
    result = run_import(MOMO + "Jim Knopf,,,,,,\n")

    assert (counts(result), result.exit_code) == ((2, 1, 0, 1), 3)


def test_no_file_of_rejected_records_is_written_when_there_are_none(run_import, tmp_path):
    run_import(MOMO)

    assert os.listdir(tmp_path) == ["books.csv"]


def test_a_rejected_record_is_kept_as_it_was(run_import, tmp_path):
    run_import('title,author,"my, notes"\n"Momo, again",,"two\nlines"\n')

    assert rejected(tmp_path) == [
        ["2", "author: Must not be empty.", "Momo, again", "", "two\nlines"]
    ]


@pytest.mark.parametrize("name", ["books.csv", "books.jsonl"])
def test_rejected_records_can_be_mended_and_imported(run_import, tmp_path, stored, name):
    wrong = {
        "books.csv": HEADER + "Momo,Michael Ende,,1973-13,,,\n",
        "books.jsonl": '{"title": "Momo", "author": "Michael Ende", "published_date": "1973-13"}\n',
    }
    run_import(wrong[name], "--strict", name=name)
    mended = (tmp_path / f"{name}.rejected.csv").read_text().replace("1973-13", "1973-12")

    result = run_import(mended)

    assert (counts(result), stored("published_date")) == ((1, 1, 0, 0), ["1973-12"])


def test_the_lines_of_records_with_line_breaks_are_those_of_the_file(run_import, tmp_path):
    run_import('title,author\n"Mo\nmo",Ende\n\nJim,\n')

    assert [row[0] for row in rejected(tmp_path)] == ["5"]


# Already there


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("Momo,Ende,1973,DTV", "MOMO!,  Énde ,1973,dtv.", 1),
        ("Momo,Ende,1973,", "Momo,Ende,1974,", 2),
        ("Momo,Ende,1973,", "Momo,Ende,,", 2),
        ("Momo,Ende,,", "Momo,Ende,,", 1),
        ("Momo,Ende,1973,", "Momo,Michael Ende,1973,", 2),
        ("Momo,Ende,1973,DTV", "Momo,Ende,1973,Thienemann", 2),
        ("Momo,Ende,1973,DTV", "Momo,Ende,1973,", 2),
        ("三体,刘慈欣,2008,", "三体,刘慈欣,2008,", 1),
        ("L'Étranger!,Camus,1942,", "L\u2019étranger,Camus,1942,", 1),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_without_isbn_title_author_date_and_publisher_tell(
    run_import, stored, first, second, expected, together
):
    if together:
        run_import(f"{NO_ISBN}{first}\n{second}\n")
    else:
        run_import(f"{NO_ISBN}{first}\n")
        run_import(f"{NO_ISBN}{second}\n")

    assert len(stored("id")) == expected


@pytest.mark.parametrize("together", [True, False])
def test_with_isbn_the_isbn_tells(run_import, stored, together):
    first, second = "Momo,Ende,9783522119405", "Momo 2,Another,3-522-11940-1"
    if together:
        run_import(f"title,author,isbn\n{first}\n{second}\n")
    else:
        run_import(f"title,author,isbn\n{first}\n")
        run_import(f"title,author,isbn\n{second}\n")

    assert stored("title") == ["Momo"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("titles", [["C", "C++", "C#"], ["🙂", "🙃"]])
def test_titles_that_differ_in_signs_only_are_books_of_their_own(
    run_import, stored, titles, together
):
    records = [f"{title},Ende,1973,\n" for title in titles]
    for content in ["".join(records)] if together else records:
        run_import(NO_ISBN + content)

    assert sorted(stored("title")) == sorted(titles)


def test_another_owners_book_is_not_there(run_import, bob):
    run_import(MOMO)

    assert counts(run_import(MOMO, owner=bob.email)) == (1, 1, 0, 0)


@pytest.mark.parametrize("content", [MOMO, f"{NO_ISBN}Momo,Ende,1973,\n"])
def test_duplicates_imports_what_is_already_there(run_import, stored, content):
    run_import(content)

    result = run_import(content + content.splitlines()[1] + "\n", "--duplicates")

    assert (counts(result), len(stored("id"))) == ((2, 2, 0, 0), 3)


def test_on_duplicate_goes_before_its_former_name(run_import, stored):
    run_import(MOMO)

    run_import(MOMO.replace("304", "288"), "--duplicates", "--on-duplicate", "update")

    assert stored("page_count") == [288]


# Dry runs


def test_a_dry_run_changes_nothing(run_import, stored, tmp_path):
    run_import(MOMO + "Jim,,,,,,\n", "--dry-run")

    assert (stored("id"), os.listdir(tmp_path)) == ([], ["books.csv"])


def test_a_dry_run_says_what_would_happen(run_import):
    result = run_import(MOMO + MOMO.splitlines()[1] + "\nJim,,,,,,\n", "--dry-run")

    assert "3 records: 1 would be imported, 1 already there, 1 rejected." in result.stdout
    assert "Line 4: author: Must not be empty." in result.stderr
    assert result.exit_code == 3


# Words


def test_help_lists_the_repairs(app):
    result = app.test_cli_runner().invoke(args=["books", "import", "--help"])

    shown = " ".join(result.stdout.split())
    assert [repair for repair in REPAIRS if repair not in shown] == []


def test_what_was_recognised_is_the_first_line(run_import):
    result = run_import(MOMO)

    first = result.stderr.splitlines()[0]
    assert first.startswith("Recognised CSV, comma, UTF-8; title from 'title', author from")
    assert first.endswith("isbn from 'isbn'.")


def test_quiet_is_silent_but_for_the_summary(run_import):
    result = run_import(MOMO, "--quiet")

    assert (result.stderr, counts(result)) == ("", (1, 1, 0, 0))


def test_all_that_is_wrong_with_a_record_is_said(run_import, tmp_path):
    run_import("title,author,published_date,isbn\n,Ende,-750,9.78E+12\n", "--strict")

    assert rejected(tmp_path)[0][1] == (
        "title: Must not be empty."
        " published_date: '-750' is not a date; write YYYY, YYYY-MM or YYYY-MM-DD."
        " isbn: 9.78E+12 has lost digits and is no longer an ISBN."
    )


# Bad input


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is empty."),
        (gzip.compress(MOMO.encode(), mtime=0)[:-9], "The file cannot be read"),
        (b"\x1f\x8b\x08" + b"\0" * 7 + b"\xff" * 99, "The file cannot be read"),
        (b"\x1f\x8bx", "The file cannot be read"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(run_import, stored, content, said):
    result = run_import(content, "--quiet")

    assert (result.exit_code, stored("id")) == (1, [])
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("Foo,Bar\nMomo,Ende\n", [], "No column is known as the title or the author"),
        ("Foo,author\nMomo,Ende\n", [], "No column is known as the title"),
        ("title,Title,author\nMomo,Jim,Ende\n", [], "Several columns are known as title"),
        (MOMO, ["--map", "titel=title"], "A book has no field 'titel'"),
        (MOMO, ["--map", "title=Titel"], "There is no column 'Titel'"),
        (MOMO, ["--map", "title"], "must be FIELD=COLUMN"),
        (MOMO, ["--map", "title=title", "--map", "author=title"], "is mapped twice"),
        (MOMO, ["--map", "title=title", "--map", "title=author"], "is mapped twice"),
        ("a,a,author\n1,2,3\n", ["--map", "title=a"], "There are several columns 'a'"),
        (f"{'x' * 900},{'y' * 900}\n1,2\n", [], "xxx..."),
        ('"a\nb",author\n1,2\n', [], "No column is known"),
        ('{"title": "Momo"}', ["--map", "titel=title"], "A book has no field 'titel'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_columns_that_are_not_known_are_told_in_one_line(
    run_import, stored, content, options, said
):
    result = run_import(content, "--quiet", *options, name="books")

    assert (result.exit_code, stored("id")) == (2, [])
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


def test_columns_that_are_not_known_can_be_mapped_and_it_is_said(run_import):
    assert "--map" in run_import("Foo,Bar\nMomo,Ende\n").stderr


def test_an_unknown_owner_is_told_in_one_line(run_import):
    result = run_import(MOMO, owner="nobody@example.com")

    assert result.exit_code == 1
    assert result.stderr == "Error: There is no user with the email nobody@example.com.\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [(".", "Is a directory"), ("missing.csv", "No such file"), ("a\0b", "null byte")],
)
def test_a_file_that_cannot_be_opened_is_told_in_one_line(app, alice, tmp_path, name, said):
    arguments = ["books", "import", f"{tmp_path}/{name}", "--owner", alice.email]

    result = app.test_cli_runner().invoke(args=arguments)

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert said in result.stderr


def test_without_an_owner_is_a_usage_error(app):
    assert app.test_cli_runner().invoke(args=["books", "import", "x.csv"]).exit_code == 2


@pytest.fixture
def no_writable_folder(tmp_path, monkeypatch):
    """The names of rejected records' files are taken by folders, as root may write anywhere."""
    current = tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for folder in (tmp_path, current):
        for name in ("books.csv", "stdin"):
            (folder / f"{name}.rejected.csv").mkdir()
    return current


def test_rejected_records_go_to_the_current_folder_else(run_import, stored, no_writable_folder):
    (no_writable_folder / "books.csv.rejected.csv").rmdir()

    result = run_import(MOMO + "Jim,,,,,,\n", "--quiet")

    assert (result.exit_code, len(stored("id"))) == (3, 1)
    assert result.stderr == "Rejected records are in books.csv.rejected.csv.\n"
    assert "Jim" in (no_writable_folder / "books.csv.rejected.csv").read_text()


@pytest.mark.parametrize("name", ["-", "books.csv"])
def test_rejected_records_go_to_the_temporary_folder_at_last(
    app, alice, tmp_path, no_writable_folder, stored, name
):
    content = MOMO + "Jim,,,,,,\n"
    (tmp_path / "books.csv").write_text(content)
    file = name if name == "-" else str(tmp_path / name)

    result = app.test_cli_runner().invoke(
        args=["books", "import", file, "--owner", alice.email, "--quiet"], input=content
    )

    assert (result.exit_code, len(stored("id"))) == (3, 1)
    told = re.fullmatch(r"Rejected records are in (.*)\.\n", result.stderr)
    assert "Jim" in Path(told[1]).read_text()


def test_rejected_records_go_where_they_are_wanted(run_import, tmp_path):
    file = tmp_path / "other.csv"

    result = run_import(MOMO + "Jim,,,,,,\n", "--quiet", "--rejected", str(file))

    assert result.stderr == f"Rejected records are in {file}.\n"
    assert sorted(os.listdir(tmp_path)) == ["books.csv", "other.csv"]


def test_rejected_records_replace_no_file_elsewhere(run_import, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = run_import(MOMO + "Jim,,,,,,\n", "--rejected", str(tmp_path / "none" / "books.csv"))

    assert result.exit_code == 3
    assert (tmp_path / "books.csv").read_text() == MOMO + "Jim,,,,,,\n"


def test_rejected_records_do_not_replace_what_is_imported(run_import, tmp_path):
    file = tmp_path / "books.csv"

    result = run_import(MOMO + "Jim,,,,,,\n", "--rejected", str(file))

    assert (result.exit_code, "Jim" in file.read_text()) == (2, True)


# Order


def test_books_are_listed_in_the_order_of_the_file(app, run_import):
    run_import("title,author\n" + "".join(f"{number:05},Ende\n" for number in range(2500)))

    with app.app_context(), autocommit() as connection:
        found = connection.execute(
            text("SELECT title FROM books ORDER BY created_at, id")
        ).scalars()
        assert list(found) == [f"{number:05}" for number in range(2500)]
