"""A fuzzer finds no answer of the live server that the document does not promise."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.fuzzing import fuzz, operation_ids
from tests.processes import Gunicorn

pytestmark = pytest.mark.long
RUN: dict[str, Any] = {"seed": 1, "max_examples": 5}
ADMINS = {"list_users", "get_user", "update_user"}
# Where a role makes a difference; `make fuzz` sends an admin through all operations.
ROLE_MATTERS = ADMINS | {"create_book", "get_book", "update_book", "delete_book"}


def test_a_user_gets_the_answers_that_are_documented(
    server: Gunicorn, document: dict[str, Any], tmp_path: Path
) -> None:
    report = fuzz(server, document, role="user", folder=tmp_path, **RUN)

    assert report.succeeded, report.text
    # Or the run has locked itself out, and proves nothing.
    assert set(operation_ids(document).values()) - report.accepted() == ADMINS
    assert report.depth() >= 3, report.chains()


def test_an_admin_gets_the_answers_that_are_documented(
    server: Gunicorn, document: dict[str, Any], tmp_path: Path
) -> None:
    report = fuzz(server, document, *ROLE_MATTERS, role="admin", folder=tmp_path, **RUN)

    assert report.succeeded, report.text
    assert report.accepted() == ROLE_MATTERS
    assert report.depth() >= 3, report.chains()
