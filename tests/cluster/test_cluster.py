"""Machines are killed, cut off and frozen under load: nothing is lost, and nobody is let in.

`REPORT=1` writes what was seen to docs/reliability.md.
"""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import requests

from books_api import PREFIX
from books_api.auth.blocklist_naming import NAMED_SECONDS
from books_api.extensions import db
from tests.cluster.conftest import Cluster
from tests.cluster.machines import Machine
from tests.conftest import bearer
from tests.deploy.faults.conftest import audit
from tests.deploy.faults.load import Load
from tests.deploy.faults.report import section_report
from tests.helpers import execute
from tests.processes import wait_until

pytestmark = pytest.mark.cluster
LONG = pytest.mark.long

STEADY = 2.0  # seconds
WAIT_MAX = 10.0  # of a request: two hosts, each with the time that nginx gives it, and to connect
RECOVERY_MAX = 8.0  # on a machine that others use, too
PARTED = {"primary": "primary of Postgres", "redis_primary": "primary of Redis"}
ROWS: dict[str, str] = {}


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    """Write the table to the page when asked for by REPORT=1."""
    yield
    section_report("cluster", ROWS.values())


def kill(machine: Machine) -> None:
    machine.kill()


def kill_postgres_alone(machine: Machine) -> None:
    machine.signal(signal.SIGKILL, "postgres")


def silence(machine: Machine) -> None:
    machine.cut_off()


def freeze(machine: Machine) -> None:
    machine.freeze()


@contextmanager
def fault(
    name: str, cluster: Cluster, tokens: list[str], *, recovery: float = RECOVERY_MAX
) -> Iterator[Load]:
    """Keep up a load while the body breaks something; judge what came of it.

    The body ends when what was broken has been replaced.
    """
    doors = [f"http://{machine.address}:8000{PREFIX}" for machine in cluster.of("app")]
    with Load(cluster.nginx.client, tokens, doors=doors) as load:
        time.sleep(STEADY)
        yield load
        replaced = time.monotonic()
        time.sleep(3 * STEADY)
    with cluster.app.app_context():
        db.engine.dispose()
    lost, doubled = audit(cluster.app, load)
    ROWS[name] = (
        f"| {name} | {load.longest_wait('GET'):.1f} s | {load.longest_wait():.1f} s"
        f" | {load.outage():.1f} s | {load.recovery(replaced):.1f} s | {max(load.waits):.1f} s"
        f" | {len(load.ledger)} | {len(load.ended)} | {lost} | {load.intruders} |"
    )
    print(ROWS[name], load.seen())  # noqa: T201  # for who runs it
    assert len(load.ledger) > 50
    assert load.longest_wait() < WAIT_MAX
    assert load.recovery(replaced) < recovery
    assert (lost, doubled, load.intruders) == (0, 0, 0)


@pytest.mark.parametrize(
    "how",
    [
        kill,
        silence,
        pytest.param(freeze, marks=LONG),
        pytest.param(kill_postgres_alone, marks=LONG),
    ],
)
def test_primary_of_postgres(cluster, tokens, how):
    with fault(f"Postgres primary: {how.__name__.replace('_', ' ')}", cluster, tokens):
        old = cluster.primary()
        how(old)
        wait_until(lambda: cluster.primary_apart_from(old))


@LONG
def test_postgres_split_in_two(cluster, tokens):
    old, other = cluster.primary(), cluster.standby()
    with fault("Postgres split in two", cluster, tokens):
        old.cut_off(other, *cluster.of("watch"))
        wait_until(lambda: cluster.primary_apart_from(old))


@LONG
def test_synchronous_standby_of_postgres(cluster, tokens):
    with fault("Postgres standby, synchronous: silence", cluster, tokens):
        cluster.standby().cut_off()
        time.sleep(30)


@pytest.mark.parametrize("how", [kill, silence, pytest.param(freeze, marks=LONG)])
def test_primary_of_redis(cluster, tokens, how):
    with fault(f"Redis primary: {how.__name__}", cluster, tokens):
        old = cluster.redis_primary()
        how(old)
        wait_until(lambda: cluster.named_by_sentinels() - {old.address})


def test_split_redis(cluster, tokens):
    old, other = cluster.redis_primary(), cluster.redis_replica()
    # The old one may have been named a moment before it is a replica again.
    with fault("Redis split in two", cluster, tokens, recovery=NAMED_SECONDS + RECOVERY_MAX):
        old.cut_off(other, *cluster.of("watch"), cluster["app2"])
        wait_until(lambda: cluster.named_by_sentinels() - {old.address})
        time.sleep(20)
        old.mend()


@pytest.mark.parametrize("how", [pytest.param(kill, marks=LONG), silence, freeze])
def test_application_host(cluster, tokens, how):
    with fault(f"an application host: {how.__name__}", cluster, tokens):
        how(cluster["app2"])
        time.sleep(10)


@LONG
def test_rolling_restart(cluster, tokens):
    with fault("the application hosts restarted in turn", cluster, tokens):
        for machine in cluster.of("app"):
            machine.signal(signal.SIGTERM)
            wait_until(lambda machine=machine: not machine.pids())
            machine.mend()
            wait_until(lambda machine=machine: cluster.is_ready(machine))


@LONG
@pytest.mark.parametrize("parted", ["primary", "redis_primary"])
def test_application_host_parted_from_a_server(cluster, tokens, parted):
    with fault(f"an application host parted from the {PARTED[parted]}", cluster, tokens):
        cluster["app1"].cut_off(getattr(cluster, parted)())
        time.sleep(10)


@LONG
def test_import_while_postgres_fails_over(cluster, tokens):
    """Sent again with its key until it is acknowledged, it has one effect."""
    body = b"title,author\n" + b"".join(b"Book %d,Nobody\n" % number for number in range(100_000))
    headers = {**bearer(tokens[0]), "Idempotency-Key": "import", "Content-Type": "text/csv"}
    old = cluster.primary()
    outcomes = []

    def is_acknowledged() -> bool:
        with suppress(requests.RequestException), cluster.nginx.client() as client:
            answer = client.post(f"{client.url}/books/import", data=body, headers=headers)
            outcomes.append(answer.status_code)
        return outcomes[-1:] == [200]

    with ThreadPoolExecutor(1) as pool:
        acknowledged = pool.submit(wait_until, is_acknowledged, 120)
        time.sleep(1)  # it is under way
        old.kill()
        acknowledged.result()
    with cluster.app.app_context():
        db.engine.dispose()
    (count,) = execute(cluster.app, "SELECT count(*) FROM books")[0]

    assert count == 100_000, outcomes
    assert len(outcomes) > 1
