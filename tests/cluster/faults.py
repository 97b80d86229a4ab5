"""A fault under load, and what is judged of it.

`REPORT=1` writes what was seen to docs/reliability.md.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from books_api import PREFIX
from books_api.extensions import db
from tests.cluster.conftest import Cluster
from tests.deploy.faults.conftest import audit
from tests.deploy.faults.load import Load
from tests.deploy.faults.report import section_report

LONG = pytest.mark.long
STEADY = 2.0  # seconds
WAIT_MAX = 10.0  # of a request: two hosts, each with the time that nginx gives it, and to connect
READ_MAX = 6.0  # 5 on a quiet machine
RECOVERY_MAX = 8.0  # on a machine that others use, too; 3 on a quiet one


@contextmanager
def fault(
    name: str,
    cluster: Cluster,
    tokens: list[str],
    *,
    recovery: float = RECOVERY_MAX,
    may_lose: bool = False,
) -> Iterator[Load]:
    """Keep up a load while the body breaks something; judge what came of it.

    The body ends when what was broken has been replaced.
    """
    doors = [f"http://{machine.address}:8000{PREFIX}" for machine in cluster.of("app")]
    with Load(cluster.nginx.client, tokens, doors=doors, may_lose=may_lose) as load:
        time.sleep(STEADY)
        broken = time.monotonic()
        yield load
        replaced = time.monotonic()
        time.sleep(3 * STEADY)
    with cluster.app.app_context():
        db.engine.dispose()
    lost, doubled = audit(cluster.app, load)
    row = (
        f"| {name} | {replaced - broken:.1f} s | {load.longest_wait('GET'):.1f} s"
        f" | {load.longest_wait():.1f} s | {load.outage():.1f} s | {load.recovery(replaced):.1f} s"
        f" | {max(load.waits):.1f} s | {len(load.ledger)} | {len(load.ended)} | {lost}"
        f" | {load.intruders} |"
    )
    late = [event for event in load.failures() if event.end > replaced]
    print(row, load.seen(), *late, f"replaced at {replaced}", sep="\n")  # noqa: T201  # for who runs it
    section_report("cluster", [row])
    assert len(load.ledger) > 50
    assert load.longest_wait() < WAIT_MAX
    assert load.longest_wait("GET") < READ_MAX
    assert max(load.waits) < replaced - broken + recovery
    assert load.recovery(replaced) < recovery
    assert (doubled, load.intruders) == (0, 0)
    assert not lost or may_lose
