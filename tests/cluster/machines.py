"""Machines: network namespaces on one bridge, each with its programs, to be killed and cut off."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.processes import clean_environ, wait_until

NUMBER = os.getpid() % 250  # of the network, so that two runs do not meet
BRIDGE = f"bk{NUMBER}"
TABLE = "inet books"
PROGRAMS = ("ip", "nft", "nginx", "etcd", "patroni", "redis-server", "psql", "setpriv", "tc")
CHAINS = f"""
table {TABLE} {{
    chain received {{ type filter hook input priority 0; }}
    chain sent {{ type filter hook output priority 0; }}
}}
"""


def what_is_missing() -> str:
    """Return why no machines can be made here; "" when they can."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [program for program in PROGRAMS if not shutil.which(program, path=path)]:
        return f"not installed: {', '.join(missing)}"
    made = subprocess.run(
        ["ip", "netns", "add", f"{BRIDGE}-try"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    run("ip", "netns", "del", f"{BRIDGE}-try")
    return ""


def run(*command: str, text: str = "", check: bool = True) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Program:
    command: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    cwd: Path


@dataclass
class Machine:
    """A machine: what was started on it runs again after boot()."""

    name: str
    address: str
    programs: list[Program] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    is_frozen: bool = False

    @property
    def namespace(self) -> str:
        return f"{BRIDGE}-{self.name}"

    def install(
        self, folder: Path, *command: str, user: str = "", cwd: Path | None = None, **environ: str
    ) -> None:
        """Start a program, now and whenever the machine is started."""
        if user:
            as_user = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
            command = (*as_user, *command)
        log = folder / f"{self.name}-{len(self.programs)}.log"
        self.programs.append(Program(command, clean_environ(folder, **environ), log, cwd or folder))
        self._start(self.programs[-1])

    def mend(self) -> None:
        """Start it again if it was killed or frozen, on a network that drops nothing."""
        self._nft(f"flush table {TABLE}")
        run("tc", "-n", self.namespace, "qdisc", "del", "dev", "eth0", "root", check=False)
        if self.is_frozen:
            self.kill()
        if not self.pids():
            for program in self.programs:
                self._start(program)

    def _start(self, program: Program) -> None:
        with program.log.open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *program.command],
                cwd=program.cwd,
                env=dict(program.environ) | {"PATH": f"{os.environ['PATH']}:/usr/sbin"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)

    @contextmanager
    def changed(self, cwd: Path | None = None, **environ: str) -> Iterator[None]:
        """Start it again with another environment, or elsewhere; afterwards it is as before."""
        before = self.programs
        self.programs = [
            replace(program, environ={**program.environ, **environ}, cwd=cwd or program.cwd)
            for program in before
        ]
        self.kill()
        self.mend()
        try:
            yield
        finally:
            self.programs = before
            self.kill()

    def signal(self, number: signal.Signals, name: str = "") -> None:
        """Send a signal to all that runs on it, or to what has the name."""
        for pid in self.pids():
            with suppress(ProcessLookupError, FileNotFoundError):
                if name in ("", Path(f"/proc/{pid}/comm").read_text().strip()):
                    os.kill(pid, number)

    def pids(self) -> list[int]:
        self.processes = [process for process in self.processes if process.poll() is None]
        return [int(pid) for pid in run("ip", "netns", "pids", self.namespace).split()]

    def freeze(self) -> None:
        """Stop everything on it; its kernel goes on, and acknowledges."""
        self.signal(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)
        self.is_frozen = False

    def kill(self) -> None:
        """Stop it as a cut of its power does."""
        self.is_frozen = False

        def is_dead() -> bool:
            self.signal(signal.SIGKILL)
            return not self.pids()

        wait_until(is_dead)
        for process in self.processes:
            process.wait()

    def cut_off(self, *others: "Machine") -> None:
        """Drop all packets between it and the others; all but its own when there are none."""
        whom = [("ip saddr " + other.address, "ip daddr " + other.address) for other in others]
        for received, sent in whom or [('iifname != "lo"', 'oifname != "lo"')]:
            self._nft(f"add rule {TABLE} received {received} drop")
            self._nft(f"add rule {TABLE} sent {sent} drop")

    def slow_down(self) -> None:
        """Let it send no more than 20 Mbit/s."""
        limit = ("tbf", "rate", "20mbit", "burst", "64kb", "latency", "400ms")
        run("tc", "-n", self.namespace, "qdisc", "add", "dev", "eth0", "root", *limit)

    def _nft(self, text: str) -> None:
        run("ip", "netns", "exec", self.namespace, "nft", "-f", "-", text=text)


@contextmanager
def network(*names: str) -> Iterator[dict[str, Machine]]:
    """Make machines with these names, which reach each other and us."""
    machines = {
        name: Machine(name, f"10.87.{NUMBER}.{number}") for number, name in enumerate(names, 11)
    }
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        run("ip", "address", "add", f"10.87.{NUMBER}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        for number, machine in enumerate(machines.values()):
            namespace, end = machine.namespace, f"{BRIDGE}.{number}"
            run("ip", "netns", "add", namespace)
            inside = ("ip", "-n", namespace)
            pair = ("type", "veth", "peer", "name", "eth0", "netns", namespace)
            run("ip", "link", "add", end, *pair)
            run("ip", "link", "set", end, "master", BRIDGE, "up")
            run(*inside, "address", "add", f"{machine.address}/24", "dev", "eth0")
            run(*inside, "link", "set", "lo", "up")
            run(*inside, "link", "set", "eth0", "up")
            machine._nft(CHAINS)
        yield machines
    finally:
        for number, machine in enumerate(machines.values()):
            machine.kill()
            # Or it stays as long as a socket does.
            run("ip", "link", "del", f"{BRIDGE}.{number}", check=False)
            run("ip", "netns", "del", machine.namespace)
        run("ip", "link", "del", BRIDGE)
