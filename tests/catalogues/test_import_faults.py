"""An import that is interrupted, or not alone: nothing half written, and the next one finishes."""

import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from books_api.catalogues import progress
from books_api.catalogues.importer import BATCH
from books_api.database import autocommit
from books_api.extensions import db
from tests.processes import ROOT, TIMEOUT, clean_environ, running, settings_environ

pytestmark = pytest.mark.long

RECORDS = 16_000
ROWS = "".join(f"Book {number:05},Somebody,1973-09-01\n" for number in range(RECORDS))
CONTENT = "title,author,published_date\n" + ROWS

FEW = "".join(CONTENT.splitlines(keepends=True)[: 2 * BATCH + 1])


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "books.csv"
    file.write_text(CONTENT)
    return file


@pytest.fixture
def environ(folder, settings):
    return clean_environ(folder, FLASK_APP=str(ROOT / "wsgi.py"), **settings_environ(settings))


@pytest.fixture
def arguments(file, alice):
    return ["-m", "flask", "books", "import", str(file), "--owner", alice.email]


@pytest.fixture
def count(app):
    """Return how many books there are, and how many titles; wait while Postgres is away."""

    def count():
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                with app.app_context(), autocommit() as connection:
                    statement = text("SELECT count(*), count(DISTINCT title) FROM books")
                    return tuple(connection.execute(statement).one())
            except DBAPIError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    return count


@pytest.fixture
def interrupt(arguments, environ, tmp_path, count):
    """Start an import, do something to it when the first batch is there; return what it says."""

    def interrupt(act):
        log = tmp_path / "log"
        with running(arguments, log, cwd=tmp_path, env=environ) as process:
            deadline = time.monotonic() + TIMEOUT
            while count()[0] == 0:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.005)
            act(process)
            process.wait(TIMEOUT)
        return process.returncode, log.read_text().splitlines()[-1]

    return interrupt


def test_a_killed_import_is_finished_by_the_next(interrupt, run_import, count):
    status, _ = interrupt(lambda process: process.kill())

    there, _ = count()
    result = run_import(CONTENT)

    assert (status, there % BATCH, there < RECORDS) == (-signal.SIGKILL, 0, True)
    assert f"{RECORDS - there:,} imported, {there:,} already there, 0 rejected" in result.stdout
    assert count() == (RECORDS, RECORDS)


def test_an_import_that_is_stopped_with_ctrl_c_says_how_far_it_came(interrupt, count):
    status, said = interrupt(lambda process: process.send_signal(signal.SIGINT))

    there, _ = count()
    assert (status, there % BATCH) == (1, 0)
    assert said == (
        f"Error: interrupted; {there:,} imported, up to line {there + 1:,}."
        " Run it again to finish the job."
    )


def test_an_import_whose_postgres_restarts_is_finished_by_the_next(
    interrupt, run_import, count, servers
):
    def restart(_):
        servers.postgres.stop("immediate")
        servers.postgres.start()

    status, said = interrupt(restart)
    there, _ = count()
    run_import(CONTENT)

    assert (status, there % BATCH, there < RECORDS) == (1, 0, True)
    assert re.fullmatch(r"Error: .*; [0-9,]+ imported, up to line .* to finish the job\.", said)
    assert count() == (RECORDS, RECORDS)


def test_two_imports_at_once_make_no_duplicates(arguments, environ, tmp_path, count):
    logs = [tmp_path / "first", tmp_path / "second"]
    with (
        running(arguments, logs[0], cwd=tmp_path, env=environ) as first,
        running(arguments, logs[1], cwd=tmp_path, env=environ) as second,
    ):
        statuses = [first.wait(TIMEOUT), second.wait(TIMEOUT)]

    imported = [re.search("records: ([0-9,]+) imported", log.read_text())[1] for log in logs]
    assert statuses == [0, 0]
    assert sum(int(number.replace(",", "")) for number in imported) == RECORDS
    assert count() == (RECORDS, RECORDS)


def test_a_terminal_shows_a_bar_with_rate_and_remaining_time(file, arguments, environ, tmp_path):
    file.write_text(CONTENT + 4 * ROWS)  # of the first second nothing remains to be told
    parent, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, *arguments, "--duplicates"],
        cwd=tmp_path,
        env={**environ, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(parent, 65_536):
                shown += piece
        except OSError:  # Linux: nobody has the terminal open any more
            pass
        os.close(parent)

    assert process.returncode == 0
    assert re.search(rb"Importing [0-9,]+ records/s +\[#+-+\] +[0-9]+%  [0-9]{2}:[0-9]{2}", shown)


def test_elsewhere_progress_is_a_line_every_few_seconds(run_import, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)

    result = run_import(FEW)

    lines = [line for line in result.stderr.splitlines() if line.endswith(" records/s")]
    assert len(lines) == 2
    assert re.fullmatch(r"2,000 records, [0-9]+%, [0-9,]+ records/s", lines[0])


def test_quiet_shows_no_progress(run_import, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)

    assert run_import(FEW, "--quiet").stderr == ""


def test_a_transaction_that_waits_is_waited_for(app, run_import, count):
    """A request's lock time-out is not an operator's."""
    with app.app_context(), db.engine.connect() as connection:
        connection.execute(text("LOCK TABLE books IN EXCLUSIVE MODE"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '2500ms'"))

        result = run_import("title,author\nMomo,Ende\n")

        connection.invalidate()

    assert (result.exit_code, count()) == (0, (1, 1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_told_in_one_line(app, alice, file):
    file.chmod(0)

    result = app.test_cli_runner().invoke(
        args=["books", "import", str(file), "--owner", alice.email]
    )

    assert (result.exit_code, result.stderr) == (1, f"Error: {file}: Permission denied.\n")
