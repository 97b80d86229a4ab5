"""Two hosts of every kind, with the configurations of deploy/cluster, in one network."""

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
from books_api.extensions import db
from tests.cluster.builder import Builder, Site
from tests.cluster.machines import Machine, network, what_is_missing
from tests.deploy.conftest import Nginx
from tests.deploy.conftest import certificate as certificate
from tests.deploy.faults.conftest import open_sessions
from tests.processes import wait_until

HOSTS = (
    *("app1", "app2", "db1", "db2", "redis1", "redis2"),
    *("watch1", "watch2", "watch3", "proxy", "proxy2"),  # etcd and Sentinel watch
)
SESSIONS = 2_000


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

    def machine(self, name: str) -> Machine:
        """Return the machine of the name, or the one that a method of the name finds."""
        found: Machine = self.machines[name] if name in self.machines else getattr(self, name)()
        return found

    def standby(self) -> Machine:
        (machine,) = [m for m in self.of("db") if m is not self.primary()]
        return machine

    def set_synchronous(self, on: bool) -> None:
        """Change the mode of replication; until it is synchronous again, mend() waits."""
        url = f"http://{self.primary().address}:8008/config"
        lag = None if on else 64 << 20  # bytes; 1 MiB otherwise, and a busy standby is left out
        change = {"synchronous_mode": on, "maximum_lag_on_failover": lag}
        requests.patch(url, json=change, timeout=5).raise_for_status()
        wait_until(lambda: on or "replica" in self.postgres_roles().values())

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


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that every user can look into."""
    with tempfile.TemporaryDirectory(prefix="books-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="session")
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
        cluster = Cluster(machines, app, builder.nginx(machines["proxy"], certificate))
        wait_until(cluster.is_whole, 90)
        yield cluster
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def tokens(cluster: Cluster) -> list[str]:
    """Access tokens of many sessions of one user; all is whole, the tables are empty otherwise."""
    cluster.mend()
    return open_sessions(cluster.app, SESSIONS)
