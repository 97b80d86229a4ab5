"""TLS to Postgres and Redis, as docs/deployment.md has it: the server proves who it is."""

import shutil
import subprocess
from collections.abc import Iterator
from os import geteuid
from pathlib import Path

import pytest
from redis.exceptions import RedisError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from books_api.redis_client import make_redis_client
from books_api.server_urls import database_url
from tests.processes import clean_environ, free_port, running_program, wait_until

pytestmark = pytest.mark.deploy


@pytest.fixture(scope="module")
def certificates(folder: Path) -> Path:
    """A folder with an authority (ca), its pair for localhost (server), and another authority."""
    own = folder / "tls"
    own.mkdir(mode=0o755)
    for name in ("ca", "other"):
        make_certificate(own, name, "-addext basicConstraints=critical,CA:TRUE")
    signed = "-CA ca.pem -CAkey ca.key -addext subjectAltName=DNS:localhost"
    make_certificate(own, "server", signed)
    return own


def make_certificate(folder: Path, name: str, options: str) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    command += f" -subj /CN={name} -keyout {name}.key -out {name}.pem {options}"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def postgres(folder: Path, certificates: Path) -> Iterator[str]:
    """The address of a Postgres that takes TLS only; the embedded one is built without."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("Debian's postgresql is not installed")
    data, port = folder / "tls" / "data", free_port()
    data.mkdir(mode=0o700)
    for name in ("server.pem", "server.key"):
        Path(shutil.copy(certificates / name, folder / "tls" / f"postgres-{name}")).chmod(0o600)
    user = {"user": "nobody", "group": "nogroup", "extra_groups": ()} if geteuid() == 0 else {}
    if user:
        folder.chmod(0o711)
        for path in (data, *folder.glob("tls/postgres-*")):
            shutil.chown(path, "nobody")
    options = {
        "cwd": "/",
        "check": True,
        "capture_output": True,
        "env": clean_environ(folder),
        **user,
    }
    initdb = [programs[-1] / "initdb", "-D", data, "--username=postgres", "--no-sync"]
    subprocess.run(initdb, **options)
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    settings = f"-h 127.0.0.1 -p {port} -k '' -c ssl=on"
    for name, file in (("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")):
        settings += f" -c {name}={folder}/tls/postgres-{file}"
    control = [programs[-1] / "pg_ctl", "-D", data, "-w", "-l", data / "log"]
    subprocess.run([*control, "-o", settings, "start"], **options)
    yield f"localhost:{port}"
    subprocess.run([*control, "-m", "immediate", "stop"], **options)


def is_encrypted(address: str, query: str) -> bool:
    url = database_url(f"postgresql://postgres@{address}/postgres?hostaddr=127.0.0.1&{query}")
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            statement = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return bool(connection.execute(text(statement)).scalar_one())
    finally:
        engine.dispose()


def test_postgres_is_asked_over_tls_when_it_proves_its_name(postgres, certificates):
    assert is_encrypted(postgres, f"sslmode=verify-full&sslrootcert={certificates}/ca.pem")


@pytest.mark.parametrize(
    ("name", "authority"),
    [("localhost", "other.pem"), ("127.0.0.1", "ca.pem"), ("localhost", "nowhere.pem")],
    ids=["another authority", "another name", "no authority"],
)
def test_a_postgres_that_does_not_prove_its_name_is_not_asked(
    postgres, certificates, name, authority
):
    address = postgres.replace("localhost", name)

    with pytest.raises(OperationalError):
        is_encrypted(address, f"sslmode=verify-full&sslrootcert={certificates}/{authority}")


def test_a_postgres_that_wants_tls_is_not_asked_in_clear_text(postgres):
    with pytest.raises(OperationalError):
        is_encrypted(postgres, "sslmode=disable")


@pytest.fixture(scope="module")
def redis(folder: Path, certificates: Path) -> Iterator[str]:
    """The address of a Redis that takes TLS only."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    port, log = free_port(), folder / "tls" / "redis.log"
    command = [program, "--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
    command += ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--save", ""]
    command += ["--tls-ca-cert-file", "ca.pem", "--requirepass", "secret"]
    with running_program(command, log, cwd=certificates, env=clean_environ(folder)) as process:

        def started() -> bool:
            if process.poll() is not None:
                pytest.skip("no redis-server here is built with TLS")
            return "Ready to accept connections" in log.read_text()

        wait_until(started)
        yield f"localhost:{port}"


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel"])
def test_redis_is_asked_over_tls_when_it_proves_its_name(redis, certificates, scheme):
    path = "0" if scheme == "rediss" else "main"
    client = make_redis_client(
        f"{scheme}://:secret@{redis}/{path}?ssl_ca_certs={certificates}/ca.pem"
    )
    if scheme == "rediss":
        assert client.ping()
    else:  # it is no Sentinel, and says so, over TLS
        with pytest.raises(RedisError, match=r"AUTH|No master"):
            client.ping()


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("rediss://:secret@localhost:{port}/0", "other.pem"),
        ("rediss://:secret@127.0.0.1:{port}/0", "ca.pem"),
        ("rediss://:secret@localhost:{port}/0", "nowhere.pem"),
        ("redis://:secret@localhost:{port}/0", None),
    ],
    ids=["another authority", "another name", "no authority", "clear text"],
)
def test_a_redis_that_does_not_prove_its_name_is_not_asked(redis, certificates, url, authority):
    query = f"?ssl_ca_certs={certificates}/{authority}" if authority else ""
    client = make_redis_client(url.format(port=redis.rpartition(":")[2]) + query)

    with pytest.raises(RedisError):
        client.ping()
