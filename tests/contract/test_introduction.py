"""The examples on the page, pasted into a shell one after the other."""

import json
import re
import shutil
import subprocess
import textwrap
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest

from books_api.config import Settings
from books_api.web.docs import INTRODUCTION
from tests.processes import ROOT, TIMEOUT, Gunicorn

BLOCK = re.compile("```(sh|json)\n(.*?)```", re.DOTALL)
END = "-- end of an example --\n"
README = (ROOT / "README.md").read_text()


def paste(shell: str, examples: list[str], server: Gunicorn, folder: Path) -> list[str]:
    """Run the examples, all in one shell, and return what each writes."""
    program = shutil.which(shell)
    if program is None or shutil.which("curl") is None:
        pytest.skip(f"there is no {shell}, or no curl")
    script = "".join(f"{text}printf '\\n{END[:-1]}\\n'\n" for text in examples)
    result = subprocess.run(
        [program, "-eu"],
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


def run_examples(shell: str, server: Gunicorn, folder: Path) -> list[str]:
    """Paste those of the page."""
    examples = [text for kind, text in BLOCK.findall(INTRODUCTION.read_text()) if kind == "sh"]
    return paste(shell, examples, server, folder)


def test_the_examples_work_after_the_tour_of_the_readme(server: Gunicorn, tmp_path: Path) -> None:
    (tour,) = re.findall(r"(?m)^## A tour\n\n((?:    .*\n)+)", README)
    (found,) = paste("bash", [textwrap.dedent(tour)], server, tmp_path)
    assert found.endswith("]")
    assert "The Hobbit" in found.splitlines()[-1]

    _, _, _, _, changes, retries, _, files = run_examples("bash", server, tmp_path)

    assert retries.count("201 CREATED") == 2
    assert '"page_count":730' in changes
    assert '"imported":2' in files


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_the_examples_of_the_page_work_when_pasted(
    server: Gunicorn, tmp_path: Path, shell: str
) -> None:
    accounts, script, pages, error, changes, retries, copy, files = run_examples(
        shell, server, tmp_path
    )

    assert '"username":"ada"' in accounts
    assert '"isbn":"9780261102217"' in accounts
    assert '"name":"backup script"' in script
    assert '"current":true' in script
    assert "X-Total-Count: 2" in pages
    assert re.search('^Link: .*; rel="next"', pages, re.MULTILINE)
    assert pages.count('"title":"The Hobbit"') == 1  # found, not listed
    assert '"page_count":730' in changes
    assert '"status":412' in changes
    assert "304 NOT MODIFIED" in changes
    assert retries.count("201 CREATED") == 2
    assert retries.count("Idempotent-Replayed: true") == 1
    assert len(set(re.findall('"id":"(.*?)"', retries))) == 1
    assert '"more":true' in copy
    assert '"imported":2' in files
    assert files.count("Virginia Woolf") == 2
    (shown,) = [text for kind, text in BLOCK.findall(INTRODUCTION.read_text()) if kind == "json"]
    request_id = {"request_id": json.loads(error)["request_id"]}
    assert json.loads(error) == json.loads(shown) | request_id


def test_the_numbers_of_the_page_are_the_defaults() -> None:
    text = " ".join(INTRODUCTION.read_text().split())
    defaults = {field.name: field.default for field in fields(Settings)}

    assert f"| {minutes(defaults['access_token_expires'])} minutes |" in text
    assert f"not used for {defaults['refresh_token_expires'].days} days" in text
    assert f"after {defaults['session_expires'].days} days" in text
    for setting, shown in {
        "login_limit": "10 logins a minute",
        "signup_limit": "10 sign-ups an hour",
        "refresh_limit": "60 refreshes a minute",
        "session_limit": "30 sessions opened or ended a minute",
    }.items():
        count, _, period = defaults[setting].partition(" per ")
        assert shown in text
        assert (shown.split()[0], shown.split()[-1]) == (count, period)


def minutes(duration: timedelta) -> int:
    return duration // timedelta(minutes=1)
