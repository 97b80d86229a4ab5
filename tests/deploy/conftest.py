"""nginx and gunicorn as shipped: only ports, the certificate and the log's path are changed."""

import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from os import geteuid
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from requests.adapters import HTTPAdapter

from books_api import PREFIX
from books_api.config import Settings
from tests.processes import (
    ROOT,
    Gunicorn,
    clean_environ,
    free_port,
    running_gunicorn,
    running_program,
    wait_until,
)
from tests.test_end_to_end import Client

NAME = "books.example"
SHIPPED = ROOT / "deploy" / "nginx.conf"
# As Debian has it, where the shipped file is included; the rest is what root alone may use.
NGINX = """
{user}
{limits}
worker_processes auto;
daemon off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    access_log off;
    gzip on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {more}
    include {folder}/books-api.conf;
}}
"""


def as_the_page_has_it(**values: Any) -> str:
    """Return Debian's nginx.conf after the commands of docs/deployment.md that change it."""
    page = (ROOT / "docs" / "deployment.md").read_text()
    (limits,) = re.findall(r"echo '(.*)' > /etc/nginx/modules-enabled/", page)
    (command,) = re.findall(r"sed -i '(.*)' /etc/nginx/nginx\.conf", page)
    text = NGINX.format(limits=limits, **values)
    return subprocess.run(
        ["sed", command], input=text, capture_output=True, text=True, check=True
    ).stdout


@dataclass(frozen=True)
class Nginx:
    port: int
    plain_port: int
    certificate: Path
    address: str = "127.0.0.1"
    pid: int = 0

    def client(self) -> Client:
        """Return a client that knows nginx under its name."""
        client = Client(f"https://{self.address}:{self.port}{PREFIX}")
        client.mount("https://", _NamedAdapter())
        client.verify = str(self.certificate)
        client.headers["Host"] = NAME
        return client

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


class _NamedAdapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, server_hostname=NAME, assert_hostname=NAME, **options)


def find_nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def make_certificate(folder: Path) -> Path:
    """Make a certificate for NAME, its key beside it."""
    path = folder / "fullchain.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    command += f" -subj /CN={NAME} -addext subjectAltName=DNS:{NAME}"
    command += f" -keyout {folder}/privkey.pem -out {path}"
    subprocess.run(command.split(), check=True, capture_output=True)
    return path


@contextmanager
def running_nginx(
    folder: Path,
    certificate: Path,
    upstream: int,
    more: str = "",
    *,
    allowed: str = "192.0.2.10",
    name: str = NAME,
) -> Iterator[Nginx]:
    """Run nginx with the shipped file, in front of a port; `more` stands before it."""
    program = find_nginx()
    assert program, "nginx is not installed"
    port, plain_port = free_port(), free_port()
    own = folder / f"nginx-{port}"
    own.mkdir()
    text = SHIPPED.read_text()
    for pattern, replacement, count in [
        (r"listen 80\b", f"listen 127.0.0.1:{plain_port}", 1),
        (r"listen 443\b", f"listen 127.0.0.1:{port}", 2),
        (r"listen \[::\]:(80|443).*\n", "", 3),  # not every machine has IPv6
        (r"127\.0\.0\.1:8000;", f"127.0.0.1:{upstream};", 1),
        (r"/etc/letsencrypt/live/books\.example", str(certificate.parent), 2),
        (r"/var/log/nginx", str(own), 1),
        (r"# allow 192\.0\.2\.10;", f"allow {allowed};", 1),
        (rf"server_name {NAME};", f"server_name {name};", 2),
    ]:
        text, found = re.subn(pattern, replacement, text)
        assert found == count, pattern
    (own / "books-api.conf").write_text(text)
    user = "user root;" if geteuid() == 0 else ""  # the folder is private to us
    (own / "nginx.conf").write_text(as_the_page_has_it(folder=own, user=user, more=more))
    log = own / "error.log"
    command = [program, "-c", str(own / "nginx.conf"), "-p", str(own), "-e", "stderr"]
    with running_program(command, log, cwd=own, env=clean_environ(folder)) as process:

        def started() -> bool:
            assert process.poll() is None, log.read_text()
            return (own / "pid").exists()

        wait_until(started)
        yield Nginx(port, plain_port, certificate, pid=process.pid)
        assert not re.search(r"\[(warn|emerg|alert|crit)\]", log.read_text()), log.read_text()


@pytest.fixture(scope="session")
def certificate(folder: Path) -> Path:
    """A certificate for NAME, its key beside it."""
    return make_certificate(folder)


@pytest.fixture(scope="session")
def start_nginx(folder: Path, certificate: Path) -> Callable[..., AbstractContextManager[Nginx]]:
    """What starts nginx with the shipped file, in front of a port."""
    if find_nginx() is None:
        pytest.skip("nginx is not installed")
    return partial(running_nginx, folder, certificate)


start_gunicorn = partial(running_gunicorn, TRUSTED_PROXIES="1")  # as behind nginx


@pytest.fixture(scope="session")
def gunicorn(migrated_app: Flask, settings: Settings, folder: Path) -> Iterator[Gunicorn]:
    with start_gunicorn(folder, settings) as gunicorn:
        yield gunicorn


@pytest.fixture(scope="session")
def shared_nginx(
    start_nginx: Callable[..., AbstractContextManager[Nginx]], gunicorn: Gunicorn
) -> Iterator[Nginx]:
    with start_nginx(gunicorn.port) as nginx:
        yield nginx


@pytest.fixture
def nginx(shared_nginx: Nginx, app: Flask) -> Nginx:
    """nginx in front of gunicorn, on empty tables."""
    return shared_nginx


@pytest.fixture
def client(nginx: Nginx) -> Iterator[Client]:
    with nginx.client() as client:
        yield client
