"""An import of which nothing can be taken: its transaction is at work all the same."""

import pytest

from books_api import PREFIX

pytestmark = pytest.mark.long

NUMBER = 150_000  # are read in longer than the time-out, each batch in a small part of it
CONTENT = "title,author\n" + ",Ende\n" * NUMBER


@pytest.fixture
def impatient(make_impatient_app):
    """An application whose Postgres ends a transaction that does nothing for a second."""
    return make_impatient_app(idle_in_transaction_session_timeout=1_000)


def test_a_request_with_rejected_records_only_is_answered(impatient, alice):
    response = impatient.test_client().post(
        f"{PREFIX}/books/import",
        data=CONTENT.replace(",Ende", "Momo,Ende", 1),  # of no book at all it is given up
        content_type="text/csv",
        headers={**alice.headers, "Idempotency-Key": "k"},
    )

    assert (response.status_code, response.json.get("rejected")) == (200, NUMBER - 1)


def test_a_dry_run_with_rejected_records_only_comes_to_its_end(impatient, alice, tmp_path):
    file = tmp_path / "books.csv"
    file.write_text(CONTENT)

    result = impatient.test_cli_runner().invoke(
        args=["books", "import", str(file), "--owner", alice.email, "--quiet", "--dry-run"]
    )

    assert result.exit_code == 3, result.stderr
    assert f"{NUMBER:,} rejected" in result.stdout
