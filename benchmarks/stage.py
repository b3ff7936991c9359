"""Where a benchmark takes place: a throw-away Apache Kafka, shops on it, contenders in processes of their own.

What they come to is read off the cluster from outside, so that all are measured alike: how many messages the logs hold,
and how many of them were applied.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from machine import machine
from support.shop import Shop, Worker

from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.node import free_port

PARTITIONS = 8
FASTEST = 500_000  # sales a second, the highest rate that can be configured
LOOK = 0.05  # seconds between two looks from outside
PLAIN = Path(__file__).with_name("plain")


@contextmanager
def kafka() -> Iterator[tuple[Path, str]]:
    """Start an Apache Kafka in a new folder; both are gone afterwards. Yields the folder and the cluster's address."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="yasdg-bench-", ignore_cleanup_errors=True) as name:
        broker = EmbeddedBroker(Path(name) / "broker", free_port())
        try:
            yield Path(name), broker.start()
        finally:
            broker.stop()


@contextmanager
def shop_on(folder: Path, servers: str, name: str, **settings: str) -> Iterator[Shop]:
    """Make a shop with a folder and topics of its own. Its workers are gone afterwards, and its topics too."""
    (folder / name).mkdir()
    shop = Shop(folder / name, name).on(servers).configure(**settings)
    try:
        yield shop
    finally:
        shop.close()
        delete_topics(servers, name)


@contextmanager
def plain_shop(folder: Path, servers: str, name: str, purchases: str = "", rate: float = 0.0) -> Iterator[Worker]:
    """Start the shop that is written plainly; its worker and its topics are gone afterwards.

    `purchases`: the topic of a log that is there; `rate`: of sales a second, inf: as many as it can.
    """
    (folder / name).mkdir()
    own = () if purchases else (f"{name}.purchases",)
    create_topics(servers, f"{name}.stockings", f"{name}-inventory-changelog", *own)
    environment = {
        **os.environ,
        "SERVERS": servers, "NAME": name, "PURCHASES": purchases or f"{name}.purchases", "RATE": str(rate),
        "PYTHONPATH": os.pathsep.join([str(PLAIN), *sys.path]),
    }  # fmt: skip
    worker = Worker(folder / name, environment, "-m", "faust", "-A", "shop")
    try:
        yield worker
    finally:
        worker.kill()
        delete_topics(servers, name)


def pace(rate: float) -> dict[str, str]:
    """Return the settings of so many sales a second."""
    return {"SALES_MIN_SALE_FREQ": "0", "SALES_MAX_SALE_FREQ": f"{2 / rate:.9f}"}


FLAT_OUT = {**pace(FASTEST), "CLOCK_START": "1d"}
"""The settings of a shop that has more to make up for than it can."""


def run(*command: str, cwd: Path | None = None, seconds: float = 600.0) -> dict[str, Any]:
    """Run a contender, with this Python unless it starts otherwise; what it reports in JSON on its last line."""
    if command[0].endswith(".py"):
        command = (sys.executable, *command)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*([str(cwd)] if cwd else []), *sys.path])}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=seconds)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def interleaved(contenders: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Run contenders in turn, A B C A B C …, so that whatever else the machine does meets all of them."""
    results: dict[str, list[Any]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, contender in contenders.items():
            results[name].append(contender())
            print(f"round {number} of {rounds}: {name}: {shown(results[name][-1])}", file=sys.stderr, flush=True)
    return results


def shown(result: Any) -> str:
    return f"{result:,.0f}" if isinstance(result, float) else str(result)


# --- Topics ---


def create_topics(servers: str, *names: str) -> None:
    """Create topics and wait until they can be used."""
    kept = {"retention.ms": "-1"}  # records may be of any time
    admin = admin_of(servers)
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1, config=kept) for name in names]).values():
        made.result()
    outside = Outside(servers, names[0])
    deadline = time.monotonic() + 30
    for name in names:
        while not outside.has(name):
            if time.monotonic() > deadline:
                raise SystemExit(f"The topic {name} did not come.")
            time.sleep(LOOK)


def delete_topics(servers: str, name: str) -> None:
    """Delete all topics whose names begin with a shop's."""
    admin = admin_of(servers)
    topics = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith((f"{name}.", f"{name}-"))]
    for gone in (admin.delete_topics(topics) if topics else {}).values():
        gone.result()


def admin_of(servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers, "log_level": 0})


# --- Looking from outside ---


class Sample(NamedTuple):
    """How many sales the log holds, and how many of them were applied to the table, at a moment."""

    at: float  # time.monotonic()
    appended: int
    applied: int


class Outside:
    """Looks at a shop from outside.

    Parameters
    ----------
    group
        Whose committed positions say what is applied.
    changelog
        Where there is no such group: the topic that has a record for each sale that was applied.
    """

    def __init__(self, servers: str, purchases: str, group: str = "", changelog: str = "") -> None:
        # It joins no group: it only asks.
        self._consumer = Consumer({"bootstrap.servers": servers, "group.id": group or "outside", "log_level": 0})
        self._purchases, self._group, self._changelog = purchases, group, changelog

    def look(self) -> Sample:
        applied = self.committed() if self._group else self.end(self._changelog)
        return Sample(time.monotonic(), self.end(self._purchases), applied)

    def has(self, topic: str) -> bool:
        """Tell whether a topic is there and can be used."""
        try:
            self.end(topic)
        except KafkaException:
            return False
        return True

    def end(self, topic: str) -> int:
        """Return how many messages a topic holds."""
        tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        return sum(self._consumer.get_watermark_offsets(tp, timeout=10)[1] for tp in tps)

    def committed(self) -> int:
        """Return how many purchases the group has applied."""
        tps = [TopicPartition(self._purchases, partition) for partition in range(PARTITIONS)]
        return sum(max(0, tp.offset) for tp in self._consumer.committed(tps, timeout=10))

    def until(self, worker: Worker, seconds: float, over: Callable[[Sample], bool]) -> list[Sample]:
        """Look again and again until one look is the last, or the time is up."""
        worker.until(lambda: self.has(self._purchases), "the topics")
        samples = [self.look()]
        while samples[-1].at - samples[0].at < seconds and not over(samples[-1]):
            if worker.process.poll() is not None:
                raise SystemExit(f"A worker ended by itself. It said:\n{worker.said}")
            time.sleep(LOOK)
            samples.append(self.look())
        return samples

    def during(self, worker: Worker, seconds: float) -> list[Sample]:
        """Look again and again for some time."""
        return self.until(worker, seconds, lambda sample: False)


def growth(samples: Sequence[Sample], what: str) -> float:
    """Return by how many sales a second a count grew; positions are committed now and then, so from step to step."""
    steps = [b for a, b in pairwise(samples) if getattr(a, what) != getattr(b, what)]
    if len(steps) < 2:
        return 0.0
    first, last = steps[0], steps[-1]
    return float(getattr(last, what) - getattr(first, what)) / (last.at - first.at)
