"""Machines are killed, cut off and frozen under load: nothing is lost, and nobody is let in."""

import signal
import time

import pytest

from books_api.auth.blocklist_lease import NAMED_SECONDS
from tests.cluster.faults import LONG, RECOVERY_MAX, fault
from tests.cluster.machines import Machine
from tests.processes import wait_until

pytestmark = pytest.mark.cluster


def kill(machine: Machine) -> None:
    machine.kill()


def kill_postgres_alone(machine: Machine) -> None:
    machine.signal(signal.SIGKILL, "postgres")


def silence(machine: Machine) -> None:
    machine.cut_off()


def freeze(machine: Machine) -> None:
    machine.freeze()


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


@LONG
def test_two_of_three_machines_with_etcd(cluster, tokens):
    with fault("two of three machines with etcd and Sentinel: kill", cluster, tokens):
        for machine in cluster.of("watch")[1:]:
            machine.kill()
        time.sleep(30)
        for machine in cluster.of("watch")[1:]:
            machine.mend()
        wait_until(lambda: all(map(cluster.is_ready, cluster.of("app"))))


@LONG
def test_two_of_three_sentinels(cluster, tokens):
    """Nothing is seen of it, until the primary of Redis is lost too: then it must come back."""
    two, primary = cluster.of("watch")[1:], cluster.redis_primary()
    name = "two of three Sentinels, and then the Redis primary: kill"
    try:
        with fault(name, cluster, tokens) as load:
            for machine in two:
                machine.signal(signal.SIGKILL, "redis-server")
            time.sleep(10)
            seen = load.seen()
            primary.kill()
            time.sleep(10)
            primary.mend()
    finally:
        for machine in two:
            machine.kill()

    assert seen == "nothing"


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
    """Until it serves again, nginx tries it every five seconds with a request of somebody."""
    machine = cluster["app2"]
    with fault(f"an application host: {how.__name__}", cluster, tokens):
        how(machine)
        time.sleep(10)
        machine.thaw()
        machine.mend()
