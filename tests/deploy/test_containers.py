"""The Containerfile and compose.yaml, as far as they can be checked without an engine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from books_api.config import Settings
from tests.conftest import KEY
from tests.processes import ROOT, clean_environ

pytestmark = pytest.mark.deploy

GIVEN = {"POSTGRES_PASSWORD": KEY[::-1], "JWT_SECRET_KEY": KEY}


def services() -> dict[str, Any]:
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    return dict(yaml.safe_load(text)["services"])


def environment() -> dict[str, str]:
    """Return the application's environment, with its variables filled in as compose does."""

    def fill(match: re.Match[str]) -> str:
        name, operator, default = match.groups()
        return GIVEN[name] if operator == "?" else GIVEN.get(name, default)

    values = services()["app"]["environment"]
    return {name: re.sub(r"\$\{(\w+):([?-])(.*?)\}", fill, values[name]) for name in values}


def test_what_the_containerfile_copies_is_all_that_the_application_needs(tmp_path: Path):
    copies = re.findall(r"(?m)^COPY (\S+) (\S+)$", (ROOT / "deploy" / "Containerfile").read_text())
    for source, target in copies:
        path = tmp_path / (target if target != "./" else source)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, path)
        else:
            path.parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / source, path)
    environ = clean_environ(tmp_path, FLASK_APP="wsgi", **environment())

    for command in (
        ["gunicorn", "--check-config", "-c", "deploy/gunicorn.conf.py", "wsgi:app"],
        ["flask", "db", "heads"],
    ):
        subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=environ, check=True)


def test_the_builder_is_sent_what_the_containerfile_copies():
    copies = re.findall(r"(?m)^COPY (\S+) ", (ROOT / "deploy" / "Containerfile").read_text())
    sent = re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text())

    assert sorted(sent) == sorted(copies)


def test_the_application_accepts_the_settings_of_compose():
    settings = Settings.from_environ(environment())

    assert settings.trusted_proxies == 1


def test_every_service_but_the_migration_has_a_health_check():
    checked = {
        name for name, service in services().items() if "test" in service.get("healthcheck", {})
    }

    assert checked == services().keys() - {"app", "migrate"}
    assert "HEALTHCHECK" in (ROOT / "deploy" / "Containerfile").read_text()  # the application's


def test_nginx_finds_the_application_of_compose():
    script = services()["nginx"]["command"][-1].partition(" > ")[0]
    script = script.replace("/books-api.conf", str(ROOT / "deploy" / "nginx.conf"))

    result = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True)

    assert re.findall(r"(?m)^    server (.*?);", result.stdout) == ["app:8000"]


@pytest.mark.parametrize("service", ["app", "migrate"])
def test_the_application_has_the_settings_of_the_env_file_beside_the_readme(service: str):
    [file] = services()[service]["env_file"]

    assert (ROOT / "deploy" / file).resolve() == ROOT / ".env"
