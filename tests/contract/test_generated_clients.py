"""Generators of clients and linters read the document without a warning; five make the tour.

The programs are pinned: those of Python in requirements-dev.txt, those of Node.js in clients/.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.processes import Gunicorn
from tests.write_openapi import GOLDEN

pytestmark = pytest.mark.long

CLIENTS = Path(__file__).parent / "clients"
BIN = Path(sys.executable).parent
NO_NETWORK = re.compile("EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENOTFOUND|ETIMEDOUT|ENETUNREACH")
# What openapi-generator says of itself, of any document of OpenAPI 3.1, of the parameter `map` and
# of a body that has an example: it makes no use of the example, and its clients compile.
NOTICES = (
    "OpenAPI 3.1 support is still in beta.",
    "Failed to get the schema name: null",
    "Map (model name matches existing language type) cannot be used as a model name.",
    "Ignoring complex example on request body",
)
JAVA = (
    *("--library", "native", "--global-property", "apiTests=false,modelTests=false"),
    "--additional-properties",
    "apiPackage=books.api,modelPackage=books.model,invokerPackage=books,openApiNullable=false,"
    "useSingleRequestParameter=true",
)


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return what it writes; fail with it, skip without it."""
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"there is no {command[0]}")
    result = subprocess.run(
        [program, *command[1:]],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    if result.returncode and NO_NETWORK.search(result.stdout):
        pytest.skip("the npm registry cannot be reached")
    assert result.returncode == 0, result.stdout
    return result.stdout


def openapi_generator() -> Path:
    """Return the jar, which also has the libraries that its Java client needs."""
    return Path(str(files("openapi_generator_cli"))) / "openapi-generator.jar"


def generate(generator: str, folder: Path, *options: str) -> None:
    """Run openapi-generator; fail on any warning that is about the document."""
    jar, output = openapi_generator(), folder / generator
    command = ("java", "-jar", jar, "generate", "-i", GOLDEN, "-g", generator, "-o", output)
    lines = run(*command, *options, cwd=folder).splitlines()
    told = [line for line in lines if " WARN " in line or " ERROR " in line]
    assert [line for line in told if not any(notice in line for notice in NOTICES)] == []


@pytest.fixture(scope="module")
def node() -> Iterator[Path]:
    """Return a folder with the programs of Node.js that package-lock.json pins."""
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    with TemporaryDirectory(prefix="books-") as name:
        folder = Path(name)
        shutil.copytree(CLIENTS, folder, dirs_exist_ok=True)
        run("npm", "ci", *quiet, cwd=folder)
        yield folder


def npx(node: Path, *command: str | Path) -> list[str]:
    """Run a program of the folder; return its output lines, blank ones left out."""
    lines = run("npx", "--no-install", *command, cwd=node).splitlines()
    return [line for line in lines if line.strip()]


def test_the_client_of_openapi_python_client_makes_the_tour(
    server: Gunicorn, tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning")
    config = CLIENTS / "openapi_python_client.yml"
    paths = ("--path", GOLDEN, "--config", config, "--output-path", tmp_path / "books_client")
    run(*command, "--meta", "none", *paths, cwd=tmp_path)

    tour = CLIENTS / "tour_openapi_python_client.py"
    run(sys.executable, tour, server.url, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})


def test_the_python_client_of_openapi_generator_makes_the_tour(
    server: Gunicorn, tmp_path: Path
) -> None:
    generate("python", tmp_path, "--package-name", "books_openapi")

    path = {"PYTHONPATH": str(tmp_path / "python")}
    run(sys.executable, CLIENTS / "tour_openapi_generator.py", server.url, cwd=tmp_path, env=path)


def test_the_java_client_of_openapi_generator_makes_the_tour(
    server: Gunicorn, tmp_path: Path
) -> None:
    generate("java", tmp_path, *JAVA)

    sources = [*(tmp_path / "java/src/main").rglob("*.java"), *CLIENTS.rglob("*.java")]
    jar, classes = openapi_generator(), tmp_path / "classes"
    run("javac", "-nowarn", "-d", classes, "-cp", jar, *sources, cwd=tmp_path)
    run("java", "-cp", f"{jar}:{classes}", "Tour", server.url, cwd=tmp_path)


def test_the_clients_in_typescript_make_the_tour(server: Gunicorn, node: Path) -> None:
    generate("typescript-fetch", node)
    (node / "typescript-fetch").rename(node / "fetch")
    log = "\n".join(npx(node, "openapi-ts", "-i", GOLDEN, "-o", "hey"))
    assert "warn" not in log.lower()

    npx(node, "tsc", "--project", ".")
    for name in ("typescript_fetch", "hey_api"):
        bundle = ("--bundle", "--platform=node", "--format=esm", f"--outfile={name}.mjs")
        npx(node, "esbuild", f"tour_{name}.ts", *bundle)
        run("node", f"{name}.mjs", server.url, cwd=node)


@pytest.mark.parametrize(
    "command",
    [
        ("openapi-typescript", GOLDEN, "-o", "types.ts"),
        ("orval", "--input", GOLDEN, "--output", "orval/client.ts"),
        ("swagger-typescript-api", "generate", "-p", GOLDEN, "-o", "swagger"),
    ],
    ids=lambda command: str(command[0]),
)
def test_a_generator_of_typescript_understands_the_document(
    node: Path, command: tuple[str | Path, ...]
) -> None:
    log = "\n".join(npx(node, *command))

    assert not re.search("warn|error|⚠", log, re.IGNORECASE), log


def test_datamodel_code_generator_understands_the_document(tmp_path: Path) -> None:
    options = ("--input-file-type", "openapi", "--output-model-type", "pydantic_v2.BaseModel")
    output = ("--formatters", "builtin", "--output", tmp_path / "models.py")
    log = run(BIN / "datamodel-codegen", "--input", GOLDEN, *options, *output, cwd=tmp_path)

    assert log == ""
    run(sys.executable, "-m", "py_compile", "models.py", cwd=tmp_path)


def test_spectral_finds_nothing(node: Path) -> None:
    lint = ("spectral", "lint", "--ruleset", "spectral.mjs", "--fail-severity=hint")

    assert "No results" in npx(node, *lint, GOLDEN)[-1]


def test_redocly_finds_nothing(node: Path) -> None:
    lines = npx(node, "redocly", "lint", "--config", "redocly.yaml", GOLDEN)

    assert "Your API description is valid." in lines[-1]
