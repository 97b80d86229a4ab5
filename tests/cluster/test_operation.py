"""What operators do, or have without knowing: upgrades, clocks that differ, a pooler in between."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from books_api import PREFIX
from books_api.database import SESSION
from books_api.version import __version__
from tests.cluster.builder import Builder
from tests.cluster.conftest import Cluster
from tests.cluster.faults import LONG, fault
from tests.cluster.machines import Machine, run
from tests.cluster.test_cluster import freeze, kill
from tests.conftest import bearer
from tests.helpers import execute
from tests.processes import ROOT, clean_environ, wait_until

pytestmark = [pytest.mark.cluster, LONG]

NEXT_VERSION = "99.0.0"
NEXT_MIGRATION = '''
"""Add a shelf to books"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "{head}"


def upgrade():
    op.add_column("books", sa.Column("shelf", sa.Text))
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY books_shelf ON books (shelf)")


def downgrade():
    op.drop_column("books", "shelf")
'''
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def test_rolling_restart(cluster, tokens):
    with fault("the application hosts restarted in turn", cluster, tokens):
        for machine in cluster.of("app"):
            machine.signal(signal.SIGTERM)
            wait_until(lambda machine=machine: not machine.pids())
            machine.mend()
            wait_until(lambda machine=machine: cluster.is_ready(machine))


def test_rolling_upgrade(cluster, tokens, place):
    """As the deployment page has it: new files, the migration once, a reload of each host."""
    release = place / "release"
    for name in ("books_api", "migrations", "deploy"):
        shutil.copytree(ROOT / name, release / name)
    shutil.copy(ROOT / "wsgi.py", release)
    url = cluster.app.config["SETTINGS"].database_url
    environ = clean_environ(
        place,
        DATABASE_URL=str(url.replace("postgresql+psycopg2", "postgresql")),
        REDIS_URL=cluster.app.config["SETTINGS"].redis_url,
        JWT_SECRET_KEY=cluster.app.config["SETTINGS"].jwt_secret_key,
    )

    def flask_db(*arguments: str) -> None:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", *arguments]
        subprocess.run(command, cwd=release, env=environ, check=True)

    with ExitStack() as stack:
        for machine in cluster.of("app"):
            stack.enter_context(machine.changed(cwd=release))
        wait_until(cluster.is_whole, 90)
        with fault("the application hosts upgraded in turn, with a migration", cluster, tokens):
            (release / "books_api" / "version.py").write_text(f'__version__ = "{NEXT_VERSION}"\n')
            head = execute(cluster.app, "SELECT version_num FROM alembic_version")[0][0]
            migration = release / "migrations" / "versions" / "9999_add_a_shelf.py"
            migration.write_text(NEXT_MIGRATION.format(head=head))
            flask_db("upgrade")
            for machine in cluster.of("app"):
                master = machine.processes[0].pid
                before = set(machine.pids()) - {master}
                os.kill(master, signal.SIGHUP)
                wait_until(lambda m=machine, before=before: not before & set(m.pids()))
        found = {
            requests.get(f"http://{m.address}:8000/openapi.json", timeout=5).json()["info"][
                "version"
            ]
            for m in cluster.of("app")
        }
        flask_db("downgrade", head)

    assert found == {NEXT_VERSION} != {__version__}


@contextmanager
def five_seconds_ahead(machine: Machine, cluster: Cluster) -> Iterator[None]:
    """Redis has no such clock: its allocator and libfaketime wait for each other."""
    if FAKETIME is None:
        pytest.skip("not installed: faketime")
    before = machine.programs
    clock = ("env", f"LD_PRELOAD={FAKETIME}", "FAKETIME=+5s", "NO_FAKE_STAT=1")
    machine.programs = []
    for program in before:
        # Preloaded by the user whose program it is: what it shares is the user's.
        first = 4 if program.command[0] == "setpriv" else 0
        command = (*program.command[:first], *clock, *program.command[first:])
        machine.programs.append(replace(program, command=command))
    try:
        with machine.changed():
            wait_until(cluster.is_whole, 90)
            yield
    finally:
        machine.programs = before


def test_clock_of_the_promoted_postgres_is_five_seconds_ahead(cluster, tokens):
    with five_seconds_ahead(cluster.standby(), cluster):
        name = "Postgres primary: kill, the promoted one's clock 5 s ahead"
        with fault(name, cluster, tokens):
            old = cluster.primary()
            old.kill()
            wait_until(lambda: cluster.primary_apart_from(old))
        (clock,) = execute(cluster.app, "SELECT extract(epoch FROM clock_timestamp())")[0]

    assert 2 < float(clock) - time.time() < 8


def test_clock_of_an_application_is_five_seconds_ahead(cluster, tokens):
    ahead, other = cluster["app2"], cluster["app1"]
    with five_seconds_ahead(ahead, cluster):
        with fault("Redis primary: kill, an application's clock 5 s ahead", cluster, tokens):
            old = cluster.redis_primary()
            old.kill()
            wait_until(lambda: cluster.named_by_sentinels() - {old.address})
        script = {"name": "script", "read_only": False, "expires_in_days": 1}
        issued = ask(ahead, "POST", "sessions", tokens[0], json=script)
        at_once = ask(other, "GET", "me", issued.json()["access_token"])
        ended = ask(other, "POST", "logout", issued.json()["access_token"])
        then = ask(ahead, "GET", "me", issued.json()["access_token"])

    difference = parsedate_to_datetime(issued.headers["Date"]).timestamp() - time.time()
    assert difference > 2
    assert [answer.status_code for answer in (issued, at_once, ended, then)] == [201, 200, 200, 401]


def ask(machine: Machine, method: str, path: str, token: str, **options: Any) -> requests.Response:
    url = f"http://{machine.address}:8000{PREFIX}/auth/{path}"
    return requests.request(method, url, headers=bearer(token), timeout=10, **options)


def test_first_of_two_nginx_is_killed(cluster, tokens, place):
    """keepalived moves the address to the other one."""
    if not shutil.which("keepalived", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("not installed: keepalived")
    builder = Builder(cluster.machines, place)
    first, second = cluster.of("proxy")
    address = f"{first.address.rpartition('.')[0]}.200"
    doubled = replace(cluster, nginx=replace(cluster.nginx, address=address))

    def has_it(machine: Machine) -> bool:
        return f" {address}/" in run("ip", "-n", machine.namespace, "address", "show")

    try:
        with first.changed(), second.changed():
            builder.nginx(second, cluster.nginx.certificate)
            builder.keepalived(first, address)
            wait_until(lambda: has_it(first))
            builder.keepalived(second, address)
            wait_until(cluster.is_whole, 90)
            with fault("the first of two nginx: kill", doubled, tokens):
                first.kill()
                run("ip", "-n", first.namespace, "link", "set", "eth0", "down")
                wait_until(lambda: has_it(second))
    finally:
        for machine in (first, second):
            inside = ("ip", "-n", machine.namespace)
            run(*inside, "address", "del", f"{address}/24", "dev", "eth0", check=False)
            run(*inside, "link", "set", "eth0", "up")


@pytest.mark.parametrize("how", [kill, freeze])
def test_pgbouncer(cluster, tokens, place, how):
    """HAProxy follows the primary for it."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [name for name in ("haproxy", "pgbouncer") if not shutil.which(name, path=path)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    builder = Builder(cluster.machines, place)
    builder.psql("".join(f"ALTER ROLE books SET {n} = {v};" for n, v in SESSION.items()))
    with ExitStack() as stack:
        for machine in cluster.of("app"):
            users = builder.write(machine, "userlist.txt", '"books" "BOOKS-PASSWORD"\n', "postgres")
            config = builder.text("pgbouncer.ini").replace(
                "/etc/pgbouncer/userlist.txt", str(users)
            )
            pooler = builder.write(machine, "pgbouncer.ini", config, "postgres")
            proxy = builder.write(machine, "haproxy.cfg", builder.text("haproxy.cfg"))
            url = "postgresql://books:BOOKS-PASSWORD@127.0.0.1:6432/books"
            stack.enter_context(machine.changed(DATABASE_URL=url))
            machine.install(place, "haproxy", "-f", str(proxy))
            machine.install(place, "pgbouncer", str(pooler), user="postgres")
        wait_until(cluster.is_whole, 90)
        name = f"Postgres primary, behind PgBouncer: {how.__name__}"
        with fault(name, cluster, tokens):
            old = cluster.primary()
            how(old)
            wait_until(lambda: cluster.primary_apart_from(old))
