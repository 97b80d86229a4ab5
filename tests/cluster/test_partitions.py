"""Two kinds of machines do not reach each other any more, while all others reach both."""

import time

import pytest

from tests.cluster.faults import LONG, fault
from tests.processes import wait_until

pytestmark = [pytest.mark.cluster, LONG]

PARTED = 10.0  # seconds
# What is parted from what: the names of a machine and of the others, or the cluster's methods.
PAIRS = {
    "an application host parted from the primary of Postgres": ("app1", ["primary"]),
    "an application host parted from the primary of Redis": ("app1", ["redis_primary"]),
    "an application host parted from the Sentinels": ("app1", ["watch1", "watch2", "watch3"]),
    "nginx parted from an application host": ("proxy", ["app2"]),
    "Postgres: the primary parted from the standby": ("primary", ["standby"]),
    "Postgres: the standby parted from etcd": ("standby", ["watch1", "watch2", "watch3"]),
    "Redis: the primary parted from the replica": ("redis_primary", ["redis_replica"]),
    "etcd and Sentinel: one parted from the other two": ("watch1", ["watch2", "watch3"]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pair_is_parted(cluster, tokens, name):
    one, others = PAIRS[name]
    with fault(name, cluster, tokens):
        cluster.machine(one).cut_off(*map(cluster.machine, others))
        time.sleep(PARTED)


def test_primary_of_postgres_is_parted_from_etcd(cluster, tokens):
    old = cluster.primary()
    with fault("Postgres: the primary parted from etcd", cluster, tokens):
        old.cut_off(*cluster.of("watch"))
        wait_until(lambda: cluster.primary_apart_from(old))


def test_primary_of_redis_is_parted_from_the_sentinels(cluster, tokens):
    """It lives on, and both are primaries for those who reach them: one at a time is named."""
    old = cluster.redis_primary()
    with fault("Redis: the primary parted from the Sentinels", cluster, tokens):
        old.cut_off(*cluster.of("watch"))
        wait_until(lambda: cluster.named_by_sentinels() - {old.address})
        time.sleep(PARTED)
