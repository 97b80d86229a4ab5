"""The examples on the page, pasted into a shell one after the other."""

import json
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from books_api.web.openapi import INTRODUCTION
from tests.processes import ROOT, TIMEOUT, Gunicorn

BLOCK = re.compile("```(sh|json)\n(.*?)```", re.DOTALL)
END = "-- end of an example --\n"


README = (ROOT / "README.md").read_text()


def paste(server: Gunicorn, folder: Path, examples: list[str]) -> list[str]:
    """Run the examples, all in one shell, and return what each writes."""
    bash = shutil.which("bash")
    if bash is None or shutil.which("curl") is None:
        pytest.skip("there is no bash, or no curl")
    script = "".join(f"{text}printf '\\n{END[:-1]}\\n'\n" for text in examples)
    result = subprocess.run(
        [bash, "-euo", "pipefail"],
        input=script.replace("http://localhost:8000", server.url),
        cwd=folder,
        env=server.environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split(f"\n{END}")[:-1]


def run_examples(server: Gunicorn, folder: Path) -> list[str]:
    """Run those of the page."""
    examples = [text for kind, text in BLOCK.findall(INTRODUCTION.read_text()) if kind == "sh"]
    return paste(server, folder, examples)


def test_the_examples_work_after_the_tour_of_the_readme(server: Gunicorn, tmp_path: Path) -> None:
    (tour,) = re.findall(r"(?m)^## A tour\n\n((?:    .*\n)+)", README)
    (found,) = paste(server, tmp_path, [textwrap.dedent(tour)])
    assert found.endswith("]")
    assert "The Hobbit" in found.splitlines()[-1]

    *_, retries, changes = run_examples(server, tmp_path)

    assert retries.count("201 CREATED") == 2
    assert '"page_count":730' in changes


def test_the_examples_of_the_page_work_when_pasted(server: Gunicorn, tmp_path: Path) -> None:
    accounts, pages, error, retries, changes = run_examples(server, tmp_path)

    assert '"username":"ada"' in accounts
    assert '"isbn":"9780261102217"' in accounts
    assert "X-Total-Count: 2" in pages
    assert re.search('^Link: .*; rel="next"', pages, re.MULTILINE)
    assert pages.count('"title":"The Hobbit"') == 1  # found, not listed
    assert retries.count("201 CREATED") == 2
    assert retries.count("Idempotent-Replayed: true") == 1
    assert len(set(re.findall('"id":"(.*?)"', retries))) == 1
    assert '"page_count":730' in changes
    assert '"status":412' in changes
    (shown,) = [text for kind, text in BLOCK.findall(INTRODUCTION.read_text()) if kind == "json"]
    request_id = {"request_id": json.loads(error)["request_id"]}
    assert json.loads(error) == json.loads(shown) | request_id
