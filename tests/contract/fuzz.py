"""`make fuzz`: as test_schemathesis.py, longer, and never the same."""

import os
import secrets
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.contract.fuzzing import fuzz
from tests.processes import Gunicorn

CASES = int(os.environ.get("CASES") or 10_000)


def test_the_answers_are_those_that_are_documented(
    server: Gunicorn, document: dict[str, Any], tmp_path: Path
) -> None:
    cases = 0
    for role in cycle(("user", "admin")):
        seed = secrets.randbelow(2**32)
        print(f"\nseed {seed} as {role}: ", end="", flush=True)  # noqa: T201  # shown with -s
        report = fuzz(server, document, role=role, seed=seed, max_examples=100, folder=tmp_path)
        assert report.succeeded, report.text
        cases += report.count()
        print(f"{cases:,} cases, links {report.depth()} deep", flush=True)  # noqa: T201  # likewise
        if cases >= CASES:
            break
