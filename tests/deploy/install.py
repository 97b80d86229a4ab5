"""docs/deployment.md, followed on a booted, empty Debian: `make test-install`, as root.

The machine is a container of systemd-nspawn with a network of its own, so packages are put into its
tree before it boots (kept in CACHE), and pip installs from files. certbot is a stand-in that signs
its certificate itself. Everything else are the commands of the page, as they stand there.
"""

import json
import os
import re
import shutil
import subprocess
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PASSWORD
from tests.processes import ROOT, wait_until

SUITE = os.environ.get("SUITE", "bookworm")
CACHE = Path("/var/cache/books-api-install")
PAGE = (ROOT / "docs" / "deployment.md").read_text()
TIMEOUT = 300
OLD, NEW = "v-old", "v-new"
CERTBOT = r"""#!/bin/sh
set -e
live=/etc/letsencrypt/live/books.example
mkdir -p $live
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
    -subj /CN=books.example -keyout $live/privkey.pem -out $live/fullchain.pem 2> /dev/null
"""
NEXT_MIGRATION = '''"""What the next release adds."""

from alembic import op

revision, down_revision = "9999", "{head}"


def upgrade():
    op.execute("CREATE TABLE of_the_next_release (id integer)")


def downgrade():
    op.execute("DROP TABLE of_the_next_release")
'''
# Reads through nginx and writes, one after the other, until it is told to stop.
LOAD = """
import http.client, json, pathlib, ssl, sys, time
token = pathlib.Path("/root/token").read_text().strip()
stop, context = pathlib.Path("/root/stop"), ssl._create_unverified_context()
asked, failures = 0, []
while not stop.exists():
    for method, path, body in (
        ("GET", "/readyz", None),
        ("GET", "/api/v1.0.0/books/", None),
        ("POST", "/api/v1.0.0/books/", json.dumps({"title": "Momo", "author": "Michael Ende"})),
    ):
        connection = http.client.HTTPSConnection("books.example", context=context, timeout=20)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        asked += 1
        if answer.status not in (200, 201):
            failures.append((method, path, answer.status, text.decode()[:300]))
print(json.dumps({"asked": asked, "failures": failures}))
"""


def section(heading: str) -> str:
    """Return the section whose heading begins so."""
    (text,) = re.findall(rf"(?ms)^## {re.escape(heading)}(.*?)(?=^## |\Z)", PAGE)
    return str(text)


def commands(heading: str) -> str:
    """Return the commands of a section, in their order."""
    found = re.findall(r"(?ms)^```sh\n(.*?)^```$|((?:^    [^\n]*\n)+)", section(heading))
    return "\n".join(fenced or textwrap.dedent(indented) for fenced, indented in found)


def shell(*command: str, **options: object) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT * 3, **options
    )
    assert result.returncode == 0, f"{command}: {result.stdout[-3000:]}{result.stderr[-3000:]}"
    return result.stdout


@dataclass
class Machine:
    """A Debian on which the page is followed."""

    leader: int

    def attempt(self, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a script as root in the machine's shell."""
        environ = "HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        enter = f"nsenter -t {self.leader} -m -u -i -n -p -r -w env -i {environ}"
        return subprocess.run(
            [*enter.split(), "bash", "-euo", "pipefail", "-c", script],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )

    def run(self, script: str, stdin: str = "") -> str:
        result = self.attempt(f"cd /opt/books-api 2> /dev/null || cd /\n{script}", stdin)
        if result.returncode:
            journal = self.attempt("journalctl -n 50 -o cat --no-pager").stdout
            pytest.fail(f"{result.stdout[-3000:]}{result.stderr[-3000:]}{journal}")
        return result.stdout

    @contextmanager
    def load(self) -> Iterator[dict[str, Any]]:
        """Ask all the time; what was asked and what failed is known afterwards."""
        self.run("rm -f /root/stop; nohup python3 /root/load.py > /root/load.json 2>&1 &")
        told: dict[str, Any] = {}
        time.sleep(1)
        try:
            yield told
            time.sleep(1)
        finally:
            self.run("touch /root/stop")
            wait_until(lambda: self.run("cat /root/load.json").strip(), 30)
        told.update(json.loads(self.run("cat /root/load.json")))
        assert told["asked"] > 10


def tree() -> Path:
    """Return the files of a Debian, with the packages that the page's step 1 installs."""
    install = commands("1.").partition("\n")[0]
    requirements = (ROOT / "requirements.txt").read_text()
    path = CACHE / SUITE
    done = path / "srv" / "requirements.txt"
    if not path.exists():
        path.mkdir(parents=True)
        shell("debootstrap", "--variant=minbase", "--include=systemd-sysv,dbus", SUITE, str(path))
    if not done.exists() or done.read_text() != requirements:
        done.write_text(requirements)
        settings = [f"--setenv={name}" for name in os.environ if name.startswith("PIP_")]
        # The host's way to the registries.
        authorities = "/etc/ssl/certs/ca-certificates.crt:/srv/authorities"
        try:
            shell(
                *("systemd-nspawn", "-q", "-D", str(path), "--register=no", "--keep-unit"),
                *("--pipe", "--resolv-conf=copy-host", *settings),
                *(
                    f"--bind-ro={authorities}",
                    "--setenv=PIP_CERT=/srv/authorities",
                ),
                *("--setenv=DEBIAN_FRONTEND=noninteractive", "sh", "-ec"),
                f"{install} iproute2; cd /srv; python3 -m venv venv; rm -rf wheels;"
                " venv/bin/pip download -q --require-hashes -d wheels -r requirements.txt",
            )
        except BaseException:
            done.unlink()
            raise
    return path


def repository(folder: Path) -> Path:
    """Return a repository with this version, and the next one, which has a migration more."""
    copy = folder / "copy"
    shell("git", "clone", "-q", str(ROOT), str(copy))
    git = ("git", "-C", str(copy), "-c", "user.name=Test", "-c", "user.email=test@books.example")
    shell(*git, "tag", OLD)
    head = max(path.name for path in (copy / "migrations" / "versions").glob("*.py"))[:4]
    name = copy / "migrations" / "versions" / "9999_of_the_next_release.py"
    name.write_text(NEXT_MIGRATION.format(head=head))
    shell(*git, "add", "-A")
    shell(*git, "commit", "-q", "-m", "Add what the next release adds")
    shell(*git, "tag", NEW)
    shell(*git, "checkout", "-q", OLD)
    shell("git", "clone", "-q", "--bare", str(copy), str(folder / "books-api.git"))
    return folder / "books-api.git"


def systemd_of(container: int) -> list[int]:
    """Return the id of the machine's first process, once it is what it will be."""
    children = Path(f"/proc/{container}/task/{container}/children").read_text().split()
    return [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "systemd\n"]


@pytest.fixture(scope="module")
def booted(folder: Path) -> Iterator[Machine]:
    """An empty machine, booted."""
    if os.geteuid() or shutil.which("systemd-nspawn") is None or not shutil.which("debootstrap"):
        pytest.fail("This needs root, systemd-container and debootstrap.")
    source = repository(folder)
    with (folder / "boot.log").open("w") as log:
        process = subprocess.Popen(
            [
                *("systemd-nspawn", "-q", "-D", str(tree()), "--volatile=overlay", "--boot"),
                *("--private-network", "--register=no", "--keep-unit", "--console=passive"),
                f"--bind-ro={source}:/srv/books-api.git",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: systemd_of(process.pid))
            machine = Machine(systemd_of(process.pid)[0])
            ready = "systemctl is-system-running --wait"
            wait_until(lambda: machine.attempt(ready).stdout in ("running\n", "degraded\n"), 120)
            yield machine
        finally:
            process.terminate()
            process.wait(TIMEOUT)


@pytest.fixture(scope="module")
def machine(booted: Machine) -> Machine:
    """A machine on which the page has been followed to its last step."""
    booted.run(f"cat > /root/load.py <<'END'\n{LOAD}END")
    booted.run(f"cat > /usr/local/bin/certbot <<'END'\n{CERTBOT}END")
    booted.run(
        "chmod +x /usr/local/bin/certbot; rm -rf /etc/apt/sources.list*\n"
        "echo 127.0.0.1 books.example $(hostname) >> /etc/hosts\n"
        "printf '[global]\\nno-index = true\\nfind-links = /srv/wheels\\n' > /etc/pip.conf"
    )
    script = "\n".join(commands(f"{step}.") for step in range(1, 8))
    script = script.replace("THE-REPOSITORY", "/srv/books-api.git")
    script = script.replace("YOUR.NAME", "books.example")
    booted.run(script, stdin=f"{PASSWORD}\n{PASSWORD}\n")
    booted.run(
        "curl -fsSk -H 'Content-Type: application/json'"
        f""" -d '{{"email": "you@books.example", "password": "{PASSWORD}"}}'"""
        " https://books.example/api/v1.0.0/auth/login"
        """ | sed 's/.*"access_token":"\\([^"]*\\).*/\\1/' > /root/token"""
    )
    return booted


def books(machine: Machine) -> int:
    count = "sudo -u postgres psql -XAtc 'SELECT count(*) FROM books' books"
    return int(machine.run(count))


def test_followed_word_for_word_the_page_leaves_nothing_wrong(machine: Machine) -> None:
    findings = machine.run(commands("7.")).splitlines()

    assert [line for line in findings if not line.startswith("ok")] == []


def test_a_reload_under_load_fails_no_request(machine: Machine) -> None:
    with machine.load() as told:
        machine.run("systemctl reload books-api")

    assert told["failures"] == []


def test_a_reload_into_a_bad_key_is_refused_with_the_reason(machine: Machine) -> None:
    key = "/etc/books-api/jwt_secret_key"
    with machine.load() as told:
        machine.run(f"cp -p {key} /root/key; echo short > {key}")
        result = machine.attempt("systemctl reload books-api")
        (why,) = re.findall(r"`(journalctl .*?)` says why", PAGE)
        journal = machine.run(why)
        machine.run(f"cp -p /root/key {key}; systemctl reload books-api")

    assert result.returncode != 0
    assert "Error: JWT_SECRET_KEY_FILE must have at least 32 bytes for HS256." in journal
    assert told["failures"] == []


def test_a_new_signing_key_logs_nobody_out(machine: Machine) -> None:
    (reload,) = re.findall(r"(?m)^`(sudo.*systemctl reload books-api)`", PAGE)
    etc, setting = "/etc/books-api", "JWT_SECRET_KEY_PREVIOUS_FILE"
    with machine.load() as told:
        machine.run(
            f"umask 027; openssl rand -hex 32 > {etc}/jwt_secret_key_previous;"
            f" chgrp books {etc}/jwt_secret_key_previous;"
            f" echo {setting}={etc}/jwt_secret_key_previous >> .env; {reload}"
        )
        machine.run(
            f"cd {etc}; cp -p jwt_secret_key old; cat jwt_secret_key_previous > jwt_secret_key;"
            f" cat old > jwt_secret_key_previous; rm old; cd /opt/books-api; {reload}"
        )

    assert told["failures"] == []


def test_an_upgrade_and_its_rollback_under_load_fail_no_request(machine: Machine) -> None:
    upgrade, back, *_ = re.findall(r"(?m)(?:^    .*\n)+", section("Upgrade without downtime"))
    with machine.load() as told:
        machine.run(textwrap.dedent(upgrade).replace("NEW-VERSION", NEW))
        machine.run(textwrap.dedent(back).replace("OLD-VERSION", OLD))
    findings = machine.run(commands("7."))

    assert told["failures"] == []
    assert "at 9999, newer than this version" in findings


def test_the_timers_run_daily_and_keep_the_backups_of_two_weeks(machine: Machine) -> None:
    kept = "/var/lib/books-api-backup"
    machine.run(
        f"install -d -o postgres -m 700 {kept}; cd {kept};"
        " touch -d '-16 days' books-old.dump; touch -d '-13 days' books-new.dump"
    )

    for name in ("prune", "backup"):
        machine.run(f"systemctl is-active books-api-{name}.timer; systemctl start books-api-{name}")
    old, new, made = (
        machine.attempt(f"ls {kept}/books-{name}.dump").returncode == 0
        for name in ("old", "new", "2*")
    )
    machine.run(f"rm {kept}/books-new.dump")

    assert (old, new, made) == (False, True, True)


def test_a_backup_comes_back_into_an_empty_database(machine: Machine) -> None:
    back_up, restore = re.findall(r"(?ms)^```sh\n(.*?)^```$", section("Backup and restore"))
    before = books(machine)
    machine.run(back_up)
    machine.run("mv /var/lib/books-api-backup/books-*.dump /var/backups/books.dump")

    machine.run("systemctl stop books-api; sudo -u postgres dropdb books")
    machine.run(restore)

    assert books(machine) == before > 0
    assert "WRONG" not in machine.run(commands("7."))
    with machine.load() as told:
        time.sleep(1)
    assert told["failures"] == []
