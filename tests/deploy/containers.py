"""The image of deploy/Containerfile, built and run: `make test-containers`, as root.

Registries may be out of reach, so its base image is imported from a tree that debootstrap makes
(kept in CACHE): Debian's Python in place of the official image's. Packages are put there, too.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from books_api.version import __version__
from tests.conftest import KEY
from tests.processes import ROOT, TIMEOUT, free_port, wait_until

CACHE = Path("/var/cache/books-api-containers")
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
BASE = "docker.io/library/" + CONTAINERFILE.read_text().partition("\nFROM ")[2].partition("\n")[0]
IMAGE = "localhost/books-api"
ADDED_MAX = 120e6  # bytes, of which the packages have nearly all
STORAGE = """[storage]
driver = "overlay"
graphroot = "{0}/graph"
runroot = "{0}/run"
"""
PREPARE = """
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3 python3-pip ca-certificates
    rm -f /usr/lib/python3*/EXTERNALLY-MANAGED /etc/pip.conf
    ln -sf python3 /usr/bin/python
    rm -rf /srv/wheels
    pip download -q --require-hashes -d /srv/wheels -r /srv/requirements.txt
    printf '[global]\\nno-index = true\\nfind-links = /wheels\\n' > /etc/pip.conf
"""


def run(*command: str | Path, **environ: str) -> str:
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "BUILDAH_FORMAT": "docker", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, f"{command}: {result.stdout[-2000:]}{result.stderr[-2000:]}"
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def tree() -> Path:
    """The files of the base image, and the packages beside them."""
    programs = ("systemd-nspawn", "debootstrap", "buildah", "podman", "runc", "podman-compose")
    if os.geteuid() or not all(map(shutil.which, programs)):
        pytest.fail(
            "This needs root and systemd-container, debootstrap, buildah, podman-compose, runc."
        )
    requirements = (ROOT / "requirements.txt").read_text()
    done = CACHE / "srv" / "requirements.txt"
    if not CACHE.exists():
        CACHE.mkdir(parents=True)
        run("debootstrap", "--variant=minbase", "bookworm", CACHE)
    if not done.exists() or done.read_text() != requirements:
        done.write_text(requirements)
        settings = [f"--setenv={name}" for name in os.environ if name.startswith("PIP_")]
        authorities = "/etc/ssl/certs/ca-certificates.crt:/srv/authorities"  # the host's
        try:
            run(
                *("systemd-nspawn", "-q", "-D", CACHE, "--register=no", "--keep-unit", "--pipe"),
                *("--resolv-conf=copy-host", f"--bind-ro={authorities}", *settings),
                *("--setenv=PIP_CERT=/srv/authorities", "--setenv=DEBIAN_FRONTEND=noninteractive"),
                *("sh", "-ec", PREPARE),
            )
        except BaseException:
            done.unlink()
            raise
    return CACHE


@pytest.fixture(scope="module")
def storage(folder: Path) -> Iterator[dict[str, str]]:
    """A place for images beside the machine's own."""
    file = folder / "storage.conf"
    file.write_text(STORAGE.format(folder / "storage"))
    yield {"CONTAINERS_STORAGE_CONF": str(file)}
    subprocess.run(["umount", folder / "storage/graph/overlay"], stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def image(tree: Path, storage: dict[str, str]) -> str:
    """The image, built from the Containerfile as it stands."""
    ignored = tree.parent / f"{tree.name}.ignore"
    ignored.write_text("srv\nvar/cache/apt\nvar/lib/apt/lists\n")
    container = run("buildah", "from", "scratch", **storage).strip()
    run(
        "buildah",
        "add",
        "-q",
        "--ignorefile",
        ignored,
        "--contextdir",
        tree,
        container,
        tree,
        "/",
        **storage,
    )
    run("buildah", "commit", "-q", "--rm", container, BASE, **storage)
    run(
        *("buildah", "bud", "--isolation", "chroot", "--network", "host", "--pull-never"),
        *("--volume", f"{tree}/srv/wheels:/wheels:ro", "-f", CONTAINERFILE, "-t", IMAGE, "."),
        **storage,
    )
    return IMAGE


def podman(*arguments: str) -> list[str]:
    """Return podman's command for a stranger in a file system that is read-only."""
    return [
        *("podman", "--cgroup-manager=cgroupfs", "--runtime=runc", "run", "--rm", "--network=host"),
        *("--no-healthcheck", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"),
        *("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *("--user=12345:12345", *arguments),
    ]


def given(port: int) -> list[str]:
    settings = {
        "DATABASE_URL": "postgresql://books@127.0.0.1:1/books",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "JWT_SECRET_KEY": KEY,
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "1",
    }
    return [f"--env={name}={value}" for name, value in settings.items()]


def test_image_serves_as_anybody_without_capabilities_on_a_read_only_disk(
    image: str, storage: dict[str, str]
) -> None:
    port = free_port()

    def version() -> str:
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/healthz", timeout=TIMEOUT)
        except requests.ConnectionError:
            return ""
        return str(answer.json()["version"])

    with subprocess.Popen(podman(*given(port), image), env={**os.environ, **storage}) as process:
        try:
            wait_until(lambda: version() == __version__)
        finally:
            began = time.monotonic()
            process.terminate()
            assert process.wait(TIMEOUT) == 0
            assert time.monotonic() - began < 10


def test_image_has_the_migrations_and_the_commands(image: str, storage: dict[str, str]) -> None:
    heads = run(*podman(*given(1), image, "flask", "db", "heads"), **storage)

    assert "(head)" in heads


def test_image_adds_little_to_its_base(image: str, storage: dict[str, str]) -> None:
    size, base = (
        int(run("podman", "image", "inspect", "--format", "{{.Size}}", name, **storage))
        for name in (image, BASE)
    )

    assert size - base < ADDED_MAX


def test_podman_compose_reads_the_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    file = tmp_path / "deploy" / "compose.yaml"
    # It makes the folders that are mounted.
    file.write_text(file.read_text().replace("/etc/letsencrypt:/", "../letsencrypt:/"))
    (tmp_path / ".env").write_text("PUBLIC_NAME=books.example\n")

    told = run(
        *("podman-compose", "--dry-run", "-f", file, "up", "-d"), PUBLIC_NAME="books.example"
    )

    for service in ("app", "migrate", "postgres", "redis", "nginx"):
        assert f"_{service}_1 " in told
