"""Installs everything on the machines, with the configurations of deploy/cluster."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from books_api.config import Settings, database_url
from tests.cluster.machines import Machine, run
from tests.conftest import KEY
from tests.deploy.conftest import SHIPPED, Nginx, as_the_page_has_it
from tests.processes import ROOT, postgres_answers, settings_environ, wait_until

CONFIGURATIONS = ROOT / "deploy" / "cluster"


@dataclass
class Site:
    """Machines by name."""

    machines: dict[str, Machine]

    def of(self, kind: str) -> list[Machine]:
        return [machine for name, machine in self.machines.items() if name.startswith(kind)]


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
        roles = (ROOT / "deploy" / "roles.sql").read_text()
        self.psql("\\set password BOOKS-PASSWORD\n\\set owner_password BOOKS-PASSWORD\n" + roles)

    def psql(self, text: str) -> None:
        """Run statements as a superuser, once there is a primary."""
        hosts = ",".join(machine.address for machine in self.of("db"))
        superuser = f"host={hosts} user=postgres password=SUPERUSER-PASSWORD"
        url = f"{superuser} target_session_attrs=read-write"
        wait_until(lambda: postgres_answers(url))
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

    def nginx(self, machine: Machine, certificate: Path) -> Nginx:
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

    def keepalived(self, machine: Machine, address: str) -> None:
        config = self.text("keepalived.conf").replace("192.0.2.10", address)
        path = self.write(machine, "keepalived.conf", config)
        pids = [f"--{which}={path}.{which}" for which in ("pid", "vrrp_pid")]
        machine.install(self.place, "keepalived", "-nl", f"--use-file={path}", *pids)
