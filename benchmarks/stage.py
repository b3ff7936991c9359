"""The environment of benchmarks: a temporary Apache Kafka, shops on it, contenders in separate processes.

Results are observed from outside, in the cluster, so that all contenders are measured alike: how many messages the logs
hold, and how many of them were applied.
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
MAX_RATE = 500_000  # sales per second, the highest rate that can be configured
SAMPLE_SECONDS = 0.05  # seconds between two samples
PLAIN = Path(__file__).with_name("plain")


@contextmanager
def kafka() -> Iterator[tuple[Path, str]]:
    """Start an Apache Kafka in a new folder, and remove both afterwards. Yields folder and address of the cluster."""
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
    """Make a shop with a separate folder and topics. Its workers are stopped and its topics deleted afterwards."""
    (folder / name).mkdir()
    shop = Shop(folder / name, name).on(servers).configure(**settings)
    try:
        yield shop
    finally:
        shop.close()
        delete_topics(servers, name)


@contextmanager
def plain_shop(folder: Path, servers: str, name: str, purchases: str = "", rate: float = 0.0) -> Iterator[Worker]:
    """Start the shop in plain Faust style; its worker is stopped and its topics are deleted afterwards.

    `purchases`: the topic of an existing log; `rate`: in sales per second, inf: full speed.
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
    """Return the settings for a number of sales per second."""
    return {"SALES_MIN_SALE_FREQ": "0", "SALES_MAX_SALE_FREQ": f"{2 / rate:.9f}"}


FULL_SPEED = {**pace(MAX_RATE), "CLOCK_START": "1d"}
"""The settings of a shop with more to backfill than a worker can."""


def run(*command: str, cwd: Path | None = None, seconds: float = 600.0) -> dict[str, Any]:
    """Run a contender, with this Python unless it has its own program; return the JSON on its last line of output."""
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
    """Run contenders in turn, A B C A B C …, so that other load on the machine affects all of them equally."""
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
    kept = {"retention.ms": "-1"}  # records may have any time
    admin = admin_of(servers)
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1, config=kept) for name in names]).values():
        made.result()
    outside = Outside(servers, names[0])
    deadline = time.monotonic() + 30
    for name in names:
        while not outside.has(name):
            if time.monotonic() > deadline:
                raise SystemExit(f"The topic {name} did not come.")
            time.sleep(SAMPLE_SECONDS)


def delete_topics(servers: str, name: str) -> None:
    """Delete all topics whose names start with the name of a shop."""
    admin = admin_of(servers)
    topics = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith((f"{name}.", f"{name}-"))]
    for gone in (admin.delete_topics(topics) if topics else {}).values():
        gone.result()


def admin_of(servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers, "log_level": 0})


# --- Observation from outside ---


class Sample(NamedTuple):
    """Number of sales in the log, and number of sales applied to the table, at one moment."""

    at: float  # time.monotonic()
    appended: int
    applied: int


class Outside:
    """Observes a shop from outside.

    Parameters
    ----------
    group
        Its committed positions show what is applied.
    changelog
        Used if there is no such group: the topic that has a record for each applied sale.
    """

    def __init__(self, servers: str, purchases: str, group: str = "", changelog: str = "") -> None:
        # It joins no group: it only queries.
        self._consumer = Consumer({"bootstrap.servers": servers, "group.id": group or "outside", "log_level": 0})
        self._purchases, self._group, self._changelog = purchases, group, changelog

    def sample(self) -> Sample:
        applied = self.committed() if self._group else self.end(self._changelog)
        return Sample(time.monotonic(), self.end(self._purchases), applied)

    def has(self, topic: str) -> bool:
        """Return whether a topic exists and can be used."""
        try:
            self.end(topic)
        except KafkaException:
            return False
        return True

    def end(self, topic: str) -> int:
        """Return the number of messages of a topic."""
        tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        return sum(self._consumer.get_watermark_offsets(tp, timeout=10)[1] for tp in tps)

    def committed(self) -> int:
        """Return the number of purchases that the group has applied."""
        tps = [TopicPartition(self._purchases, partition) for partition in range(PARTITIONS)]
        return sum(max(0, tp.offset) for tp in self._consumer.committed(tps, timeout=10))

    def until(self, worker: Worker, seconds: float, over: Callable[[Sample], bool]) -> list[Sample]:
        """Take samples until one of them is the last, or the time is up."""
        worker.until(lambda: self.has(self._purchases), "the topics")
        samples = [self.sample()]
        while samples[-1].at - samples[0].at < seconds and not over(samples[-1]):
            if worker.process.poll() is not None:
                raise SystemExit(f"A worker ended by itself. It said:\n{worker.said}")
            time.sleep(SAMPLE_SECONDS)
            samples.append(self.sample())
        return samples

    def during(self, worker: Worker, seconds: float) -> list[Sample]:
        """Take samples for some time."""
        return self.until(worker, seconds, lambda sample: False)


def growth(samples: Sequence[Sample], what: str) -> float:
    """Return the growth rate of a count, in sales per second: from step to step, as positions are committed."""
    steps = [b for a, b in pairwise(samples) if getattr(a, what) != getattr(b, what)]
    if len(steps) < 2:
        return 0.0
    first, last = steps[0], steps[-1]
    return float(getattr(last, what) - getattr(first, what)) / (last.at - first.at)
