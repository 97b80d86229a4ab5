"""Generators of clients understand the document, and what they make works."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes import Gunicorn, run
from tests.write_openapi import GOLDEN

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
OPENAPI_TYPESCRIPT = ("openapi-typescript@7.13.0", "typescript@5.9.3")
NO_NETWORK = re.compile("EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENOTFOUND|ETIMEDOUT|ENETUNREACH")


def generate_python(folder: Path) -> None:
    """Generate the package books_client; fail on any warning."""
    command = ["-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none"]
    config, output = str(HERE / "generator.yml"), str(folder / "books_client")
    files = ["--path", str(GOLDEN), "--config", config, "--output-path", output]
    result = run([*command, *files], cwd=folder, env=dict(os.environ))
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_generated_python_client_makes_the_tour(server: Gunicorn, tmp_path: Path) -> None:
    generate_python(tmp_path)

    environ = {**server.environ, "PYTHONPATH": str(tmp_path)}
    result = run([str(HERE / "tour.py"), server.url], cwd=tmp_path, env=environ)

    assert result.returncode == 0, result.stderr


def npm(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which(arguments[0])
    if program is None:
        pytest.skip(f"there is no {arguments[0]}")
    return subprocess.run(
        [program, *arguments[1:]],
        cwd=folder,
        env={**os.environ, "npm_config_loglevel": "error", "npm_config_update_notifier": "false"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def test_openapi_typescript_understands_the_document(tmp_path: Path) -> None:
    install = ("npm", "install", "--no-audit", "--no-fund")
    installed = npm(*install, *OPENAPI_TYPESCRIPT, folder=tmp_path)
    if installed.returncode and NO_NETWORK.search(installed.stdout):
        pytest.skip("the npm registry cannot be reached")
    assert installed.returncode == 0, installed.stdout

    result = npm("npx", "openapi-typescript", str(GOLDEN), "-o", "books.ts", folder=tmp_path)

    assert result.returncode == 0, result.stdout
    unexpected = [line for line in result.stdout.split("\n") if line and line[0] not in "✨🚀"]
    assert unexpected == []  # such as a warning
    assert "export interface operations" in (tmp_path / "books.ts").read_text()
