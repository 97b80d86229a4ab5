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

GIVEN = {"PUBLIC_NAME": "books.test"}
SECRETS = {
    "database_url": "postgresql://books:secret@postgres:5432/books",
    "redis_url": "redis://:secret@redis:6379/0",
    "jwt_secret_key": KEY,
}


def services() -> dict[str, Any]:
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    return dict(yaml.safe_load(text)["services"])


def fill(value: str) -> str:
    """Fill in the variables as compose does."""

    def given(match: re.Match[str]) -> str:
        name, operator, default = match.groups()
        return GIVEN[name] if operator == "?" else GIVEN.get(name, default)

    return re.sub(r"\$\{(\w+):([?-])(.*?)\}", given, value)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The application's environment, with its secrets."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, text in SECRETS.items():
        (folder / name).write_text(f"{text}\n")
    given = {name: fill(value) for name, value in services()["app"]["environment"].items()}
    return {name: value.replace("/run/secrets", str(folder)) for name, value in given.items()}


def test_what_the_containerfile_copies_is_all_that_the_application_needs(
    tmp_path: Path, environment: dict[str, str]
):
    copies = re.findall(r"(?m)^COPY (\S+) (\S+)$", (ROOT / "deploy" / "Containerfile").read_text())
    for source, target in copies:
        path = tmp_path / (target if target != "./" else source)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, path)
        else:
            path.parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / source, path)
    environ = clean_environ(tmp_path, FLASK_APP="wsgi", **environment)

    for command in (
        ["gunicorn", "--check-config", "-c", "deploy/gunicorn.conf.py", "wsgi:app"],
        ["flask", "db", "heads"],
    ):
        subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=environ, check=True)


def test_the_builder_is_sent_what_the_containerfile_copies():
    copies = re.findall(r"(?m)^COPY (\S+) ", (ROOT / "deploy" / "Containerfile").read_text())
    sent = re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text())

    assert sorted(sent) == sorted(copies)


def test_the_application_accepts_the_settings_of_compose(environment: dict[str, str]):
    settings = Settings.from_environ(environment)

    assert settings.trusted_proxies == 1


def test_every_service_but_the_migration_has_a_health_check():
    checked = {
        name for name, service in services().items() if "test" in service.get("healthcheck", {})
    }

    assert checked == services().keys() - {"app", "migrate"}
    assert "HEALTHCHECK" in (ROOT / "deploy" / "Containerfile").read_text()  # the application's


def test_no_container_of_the_application_runs_as_root():
    containerfile = (ROOT / "deploy" / "Containerfile").read_text()

    assert re.findall(r"(?m)^USER (.*)$", containerfile) == ["10001:10001"]
    for service in services().values():
        assert not service.keys() & {"user", "privileged"}  # the images know whom to become
    for name in ("app", "migrate"):
        assert services()[name]["cap_drop"] == ["ALL"]
        assert services()[name]["read_only"]


def test_the_application_waits_for_a_migration_that_runs_once():
    migrate = services()["migrate"]

    assert migrate["command"][-1].endswith("exec flask db upgrade")
    assert "restart" not in migrate
    assert services()["app"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "redis": {"condition": "service_healthy"},
    }
    assert migrate["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_a_migration_needs_neither_redis_nor_the_key(tmp_path: Path):
    (tmp_path / "database_url").write_text(SECRETS["database_url"])
    migrate = services()["migrate"]
    given = {
        name: value.replace("/run/secrets", str(tmp_path))
        for name, value in migrate["environment"].items()
    }
    script = migrate["command"][-1].replace("$$", "$").replace("upgrade", "heads")
    environ = clean_environ(tmp_path, FLASK_APP="wsgi", **given)
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"

    subprocess.run(["sh", "-ec", script], cwd=ROOT, env=environ, check=True)


def test_no_service_is_given_a_secret_in_its_environment():
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            assert name.endswith("_FILE") or "@" not in value
            assert "PASSWORD" not in value


def test_redis_keeps_what_it_knows():
    [program, configuration, *options] = services()["redis"]["command"]

    assert program == "redis-server"  # or the image's entry point stays root
    assert configuration == "/run/secrets/redis.conf"  # its password
    assert dict(zip(options[::2], options[1::2], strict=True)) == {
        "--appendonly": "yes",
        "--maxmemory-policy": "noeviction",
    }
    assert "redis:/data" in services()["redis"]["volumes"]


@pytest.fixture(scope="module")
def nginx_conf() -> str:
    """What the container of nginx makes of the shipped file."""
    script = fill(services()["nginx"]["command"][-1].rpartition(" > ")[0])
    script = script.replace("/books-api.conf", str(ROOT / "deploy" / "nginx.conf"))
    result = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True)
    return result.stdout


def test_nginx_finds_the_application_of_compose(nginx_conf: str):
    assert re.findall(r"(?m)^    server (.*?);", nginx_conf) == ["app:8000"]


def test_nginx_has_the_public_name(nginx_conf: str):
    assert "server_name books.test;" in nginx_conf
    assert "ssl_certificate /etc/letsencrypt/live/books.test/fullchain.pem;" in nginx_conf
    assert "books.example;" not in nginx_conf


def test_the_log_of_nginx_goes_where_docker_reads_it(nginx_conf: str):
    assert re.findall(r"(?m)^ *access_log (\S+)", nginx_conf) == ["/dev/stdout"]


@pytest.mark.parametrize("service", ["app", "migrate"])
def test_the_application_has_the_settings_of_the_env_file_beside_the_readme(service: str):
    [file] = services()[service]["env_file"]

    assert (ROOT / "deploy" / file).resolve() == ROOT / ".env"
