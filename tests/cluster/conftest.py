"""Two hosts of every kind, with the configurations of deploy/cluster, in one network."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask_migrate import upgrade
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from books_api import create_app
from books_api.config import Settings, database_url
from books_api.extensions import db
from tests.cluster.machines import Machine, network, run, what_is_missing
from tests.conftest import KEY
from tests.deploy.conftest import SHIPPED, Nginx, as_the_page_has_it
from tests.deploy.conftest import certificate as certificate
from tests.deploy.faults.conftest import open_sessions
from tests.processes import ROOT, postgres_answers, settings_environ, wait_until

CONFIGURATIONS = ROOT / "deploy" / "cluster"
HOSTS = (
    *("app1", "app2", "db1", "db2", "redis1", "redis2"),
    *("watch1", "watch2", "watch3", "proxy"),  # etcd and Sentinel watch
)
SESSIONS = 2_000


@dataclass
class Site:
    """Machines by name."""

    machines: dict[str, Machine]

    def of(self, kind: str) -> list[Machine]:
        return [machine for name, machine in self.machines.items() if name.startswith(kind)]


@dataclass
class Cluster(Site):
    """The machines, and how they are asked."""

    app: Flask
    nginx: Nginx

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def redis(self, machine: Machine, port: int = 6379) -> Redis:
        return Redis(
            machine.address,
            port,
            password="REDIS-PASSWORD" if port == 6379 else "SENTINEL-PASSWORD",
            decode_responses=True,
            socket_timeout=1,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )

    def postgres_roles(self) -> dict[str, str]:
        """Return what Patroni says of each database: leader, sync_standby."""
        for machine in self.of("db"):
            with suppress(requests.RequestException, KeyError):
                found = requests.get(f"http://{machine.address}:8008/cluster", timeout=2).json()
                return {
                    member["name"]: member["role"]
                    for member in found["members"]
                    if member["state"] in ("running", "streaming")
                }
        return {}

    def primary(self) -> Machine:
        """Return the machine with the primary of Postgres."""
        (name,) = [n for n, role in self.postgres_roles().items() if role == "leader"]
        return self.machines[name]

    def standby(self) -> Machine:
        (machine,) = [m for m in self.of("db") if m is not self.primary()]
        return machine

    def primary_apart_from(self, old: Machine) -> bool:
        """Tell whether another one is the primary by now."""
        roles = self.postgres_roles()
        return any(role == "leader" and name != old.name for name, role in roles.items())

    def redis_primary(self) -> Machine:
        """Return the machine that the Sentinels name."""
        (address,) = self.named_by_sentinels()
        (machine,) = [machine for machine in self.of("redis") if machine.address == address]
        return machine

    def redis_replica(self) -> Machine:
        (machine,) = [m for m in self.of("redis") if m is not self.redis_primary()]
        return machine

    def named_by_sentinels(self) -> set[str]:
        named = set()
        for machine in self.of("watch"):
            with self.redis(machine, 26379) as sentinel:
                named.add(str(sentinel.sentinel_get_master_addr_by_name("books")[0]))
        return named

    def redis_is_whole(self) -> bool:
        with suppress(RedisError, ValueError):
            primary = self.redis_primary()
            with self.redis(self.redis_replica()) as client:
                info = client.info("replication")
            with self.redis(self["watch1"], 26379) as sentinel:
                known = sentinel.sentinel_master("books")
            return (
                info["role"] == "slave"
                and info["master_host"] == primary.address
                and info["master_link_status"] == "up"
                and known["flags"] == "master"
                and known["num-other-sentinels"] == 2
            )
        return False

    def is_whole(self) -> bool:
        """Tell whether everything runs, and everything that has a second has it."""
        if set(self.postgres_roles().values()) != {"leader", "sync_standby"}:
            return False
        if not self.redis_is_whole():
            return False
        return all(self.is_ready(machine) for machine in self.of("app"))

    def is_ready(self, machine: Machine) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"http://{machine.address}:8000/readyz", timeout=3).ok
        return False

    def mend(self) -> None:
        """Start what was killed, and wait until all is whole."""
        for machine in self.machines.values():
            machine.mend()
        wait_until(self.is_whole, 90)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user can look into."""
    with tempfile.TemporaryDirectory(prefix="books-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def cluster(place: Path, certificate: Path) -> Iterator[Cluster]:
    """All of it, whole; the tables are there, and empty."""
    if missing := what_is_missing():
        pytest.skip(missing)
    with network(*HOSTS) as machines:
        builder = Builder(machines, place)
        builder.watchers()
        builder.postgres()
        builder.redis()
        settings = builder.applications()
        app = create_app(settings)
        with app.app_context():
            upgrade()
        cluster = Cluster(machines, app, builder.nginx(certificate))
        wait_until(cluster.is_whole, 90)
        yield cluster
        with app.app_context():
            db.engine.dispose()


@dataclass
class Builder(Site):
    """Installs everything with the files of deploy/cluster: only names and paths are changed."""

    place: Path

    def text(self, name: str) -> str:
        """Return a shipped file, with addresses in place of names."""
        text = (CONFIGURATIONS / name).read_text()
        text = re.sub(r"(sentinel|etcd)(?=\d\.internal)", "watch", text)
        return re.sub(r"(\w+)\.internal", lambda match: self.machines[match[1]].address, text)

    def write(self, machine: Machine, name: str, text: str, user: str = "") -> Path:
        """Write a file into the machine's own folder, which the user owns."""
        folder = self.place / machine.name
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(text)
        for owned in (folder, path):
            shutil.chown(owned, user or None, user or None) if user else None
        return path

    def watchers(self) -> None:
        watchers = self.of("watch")
        peers = ",".join(f"{m.name}=http://{m.address}:2380" for m in watchers)
        for machine in watchers:
            config = self.text("sentinel.conf").replace(watchers[0].address, machine.address, 1)
            path = self.write(machine, "sentinel.conf", config)
            client, peer = (f"http://{machine.address}:{port}" for port in (2379, 2380))
            command = ["etcd", "--name", machine.name, "--data-dir", f"{path.parent}/etcd"]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster", peers, "--unsafe-no-fsync"]
            command += ["--heartbeat-interval", "200", "--election-timeout", "2000"]
            machine.install(self.place, *command)

    def postgres(self) -> None:
        first, second = self.of("db")
        for machine in (first, second):
            config = self.text("patroni.yml").replace("db1", machine.name)
            config = re.sub(rf"{first.address}(?=:\d)", machine.address, config)
            config = re.sub(r"/var/(lib|run)/postgresql", f"{self.place}/{machine.name}", config)
            path = self.write(machine, "patroni.yml", config, "postgres")
            machine.install(self.place, "patroni", str(path), user="postgres")
        superuser = "user=postgres password=SUPERUSER-PASSWORD"
        url = f"host={first.address},{second.address} {superuser} target_session_attrs=read-write"
        wait_until(lambda: postgres_answers(url))
        roles = (ROOT / "deploy" / "roles.sql").read_text()
        text = "\\set password BOOKS-PASSWORD\n\\set owner_password BOOKS-PASSWORD\n" + roles
        run("psql", "-Xq", "-v", "ON_ERROR_STOP=1", url, text=text)

    def redis(self) -> None:
        first, second = self.of("redis")
        for machine in (first, second):
            config = self.text("redis.conf").replace(first.address, machine.address)
            config += f"replicaof {first.address} 6379\n" if machine is second else ""
            path = self.write(machine, "redis.conf", config)
            path.write_text(config.replace("/var/lib/redis", str(path.parent)))
            machine.install(self.place, "redis-server", str(path))
        for machine in self.of("watch"):
            path = self.place / machine.name / "sentinel.conf"
            machine.install(self.place, "redis-server", str(path), "--sentinel")

    def applications(self) -> Settings:
        """Start them, and return their settings."""
        hosts = ",".join(machine.address for machine in self.of("db"))
        watchers = ",".join(machine.address for machine in self.of("watch"))
        settings = Settings(
            database_url=database_url(f"postgresql://books_owner:BOOKS-PASSWORD@{hosts}/books"),
            redis_url=f"redis+sentinel://:REDIS-PASSWORD@{watchers}/books"
            "?sentinel_password=SENTINEL-PASSWORD",
            jwt_secret_key=KEY,
        )
        environ = settings_environ(settings) | {"TRUSTED_PROXIES": "1"}
        environ["DATABASE_URL"] = f"postgresql://books:BOOKS-PASSWORD@{hosts}/books"
        for workers, machine in enumerate(self.of("app"), 1):
            machine.install(
                self.place,
                *(sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app"),
                cwd=ROOT,
                BIND=f"{machine.address}:8000",
                WEB_CONCURRENCY=str(workers),
                **environ,
            )
        return settings

    def nginx(self, certificate: Path) -> Nginx:
        (machine,) = self.of("proxy")
        upstream = self.text("upstream.conf")
        text = re.sub(r"(?ms)^upstream .*?^\}\n", upstream, SHIPPED.read_text(), count=1)
        text = re.sub(r"listen \[::\].*\n", "", text)
        text = text.replace("/etc/letsencrypt/live/books.example", str(certificate.parent))
        path = self.write(machine, "books-api.conf", text)
        own = path.parent
        path.write_text(text.replace("/var/log/nginx", str(own)))
        main = as_the_page_has_it(folder=own, user="user root;", more="")
        (own / "nginx.conf").write_text(main)
        machine.install(
            self.place, "nginx", "-c", f"{own}/nginx.conf", "-p", str(own), "-e", "stderr"
        )
        return Nginx(443, 80, certificate, machine.address)


@pytest.fixture
def tokens(cluster: Cluster) -> list[str]:
    """Access tokens of many sessions of one user; all is whole, the tables are empty otherwise."""
    cluster.mend()
    return open_sessions(cluster.app, SESSIONS)
