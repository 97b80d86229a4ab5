"""Load for MINUTES: memory, connections and file descriptors do not grow. Run by `make soak`."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flask import Flask
from redis import Redis as RedisClient
from sqlalchemy import text

from books_api.database import autocommit
from development.embedded import Redis
from tests.deploy.conftest import Nginx
from tests.deploy.faults.conftest import audit
from tests.deploy.faults.load import Load
from tests.deploy.faults.report import section_report
from tests.processes import Gunicorn

MINUTES = float(os.environ.get("MINUTES") or 3)
# What the second half may have more of than the first, both without the start.
MEMORY_GROWTH = 8.0  # MiB of a worker, for the allocator's moods
OTHER_GROWTH = 8  # connections and descriptors, which come and go with the requests


@dataclass(frozen=True)
class Sample:
    """What the service has at one moment."""

    memory: float  # MiB of the workers, on average
    descriptors: int
    postgres: int
    redis: int


def take(gunicorn: Gunicorn, app: Flask, redis: RedisClient) -> Sample:
    pages, descriptors = [], 0
    for pid in gunicorn.workers():
        process = Path(f"/proc/{pid}")
        descriptors += len(list((process / "fd").iterdir()))
        pages.append(int((process / "statm").read_text().split()[1]))
    with app.app_context(), autocommit() as connection:
        backends = connection.execute(
            text("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'books-api %'")
        ).scalar_one()
    memory = statistics.mean(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample(memory, descriptors, backends, len(redis.client_list()))


def test_nothing_grows_under_load(
    app: Flask, nginx: Nginx, gunicorn: Gunicorn, redis: Redis, tokens: list[str]
) -> None:
    seconds = MINUTES * 60
    samples = []
    with RedisClient.from_url(redis.url) as observer, Load(nginx.client, tokens) as load:
        time.sleep(seconds / 6)
        begin = time.monotonic()
        while not load.errors and time.monotonic() < begin + seconds * 5 / 6:
            samples.append(take(gunicorn, app, observer))
            time.sleep(1)
    half, middle = len(samples) // 2, begin + seconds * 5 / 12
    lost, doubled = audit(app, load)

    def median(of: Callable[[Sample], float], part: list[Sample]) -> float:
        return statistics.median(of(sample) for sample in part)

    measures: dict[str, tuple[Callable[[Sample], float], float]] = {
        "memory of a worker, MiB": (lambda sample: sample.memory, MEMORY_GROWTH),
        "file descriptors of the workers": (lambda sample: sample.descriptors, OTHER_GROWTH),
        "connections of Postgres": (lambda sample: sample.postgres, OTHER_GROWTH),
        "connections of Redis": (lambda sample: sample.redis, OTHER_GROWTH),
    }
    later = sum(event.end > middle for event in load.events)
    earlier = sum(begin < event.end <= middle for event in load.events)
    rows, grown = [f"| requests | {earlier} | {later} |"], []
    for name, (of, bound) in measures.items():
        first, second = median(of, samples[:half]), median(of, samples[half:])
        rows.append(f"| {name} | {first:.0f} | {second:.0f} |")
        if second > first + bound:
            grown.append(rows[-1])
    print("", *rows, sep="\n")  # noqa: T201  # for who runs it
    section_report(f"soak of {MINUTES:g} minutes", rows)
    assert not grown
    assert (load.failures(), lost, doubled) == ([], 0, 0)
