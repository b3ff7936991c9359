"""Fuzz test: hostile records from foreign producers on every topic of a shop, while its workers sell and restart.

    make fuzz                                                         # 100,000 records in five minutes, three workers
    make fuzz ARGS="--records 20000 --seconds 60 --seed 7"            # a short run
    make fuzz ARGS="--only changelog --only control:gap --seed 7"     # one topic, and some strategies of another

The strategies are those of tests/support/hostile_records.py. The same seed yields the same random choices: the order of
the strategies, what they change, how the records are appended. The changed messages are copied from the shop's topics,
so they depend on timing. Exit status 0: no worker ended by itself or printed a traceback, every partition sold after
the last record, the audit reports the foreign messages and finds that the books balance, the commands work, and the
shop's own messages are exactly the bytes that the simulation yields.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from oracles.simulation import WHEN, made, plan_of
from support.chaos_run import SCARCE, SESSION_SECONDS, Chaos, log, print_report
from support.foreign_producer import Batch, ForeignProducer, Logs, dice_of, is_of, messages
from support.hostile_records import SINGLE, STRATEGIES, TOPICS, WAYS, Attack, Deck, Record, World, attacks, hostile
from support.interrupts import let_children_be_interrupted
from support.shop import Worker, yasdg

from yasdg_app.config import catalog, ini
from yasdg_app.kafka import topics
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import administration
from yasdg_app.messages.ids import default_partition
from yasdg_app.messages.times import event_time
from yasdg_app.shop.till import Till

MAX_SAMPLES = 40  # messages of each kind that foreign producers copy
SAMPLE_SECONDS = 5.0  # between two samples of what the shop has written
SEARCHED_OFFSETS = 400  # offsets of a partition that are searched for its latest messages
MAX_LOG_BYTES = 1_000_000  # of each worker
MAX_ENDINGS = 12  # workers that end by themselves before the run is aborted
MAX_SALE_WAIT_SECONDS = 120.0  # max time after the last record until every partition sells
MAX_READY_SECONDS = 90.0
MAX_CONSUMERS = 3  # commands at a time
COMMAND_SECONDS = 60.0
QUIET_SECONDS = 3.0  # without output: `yasdg consume` has printed everything
ABORT_FACTOR = 3.0  # multiple of --seconds after which the run is aborted
NO_OPENING = (
    "odd value",
    "deep object",
    "invalid UTF-8",
    "tombstone",
    "header names that are not UTF-8",
    "random megabyte",
)
"""Strategies for records on the opening topic before the shop opens: none of them may be a valid opening."""
CONSUMED = ("products", "purchases", "stockings", "lost_sales", "incidents", "dirty", "faults")
ALWAYS_WRITTEN = ("products", "purchases", "stockings", "lost_sales", "opening", "changelog", "dirty", "faults")
"""Topics to which the shop writes in every run; to the others only occasionally."""
COUNTED = ("purchases", "lost_sales", "stockings")
"""Topics for which the audit must report the exact number of foreign messages."""

SHELF_SECONDS = 0.4, 1.6
"""Level of a shelf at a restock, and the restocked amount, in seconds of all sales of the shop: it is often empty."""
FORMATS = {
    "json": {},
    "avro": {"FORMAT_VALUE": "avro"},
    "protobuf": {"FORMAT_VALUE": "protobuf"},
    **{time: {"FORMAT_TIME": time} for time in ("iso-z", "epoch_ms", "epoch_us")},
}
"""Settings by name of a format. Except for the first, the bytes are not compared with the simulation."""
LIVELY_SHOP = {
    **SCARCE,
    "CLOCK_START": "2m",
    "FAULTS_LATE": "0.02",
    "FAULTS_DUPLICATE": "0.02",
    "FAULTS_DROPPED": "0.01",
    "FAULTS_OUT_OF_ORDER": "0.05",
    "FAULTS_CORRUPT": "0.02",
    "FAULTS_LATE_BY": "5s - 20s",
    "FAULTS_OUT_OF_ORDER_BY": "3s",
}
INCIDENTS = """
[INCIDENT rush]
kind = promotion
every = 6m
duration = 2m
factor = 1.5
discount = .1
[INCIDENT lorry]
kind = supply
every = 8m
duration = 2m
"""
LIVE = ("--kind", "promotion", "--duration", "5m", "--factor", "1.2", "--discount", ".05")
TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*(?P<error>.*)", re.MULTILINE)


class ForeignProducers:
    """The foreign producers of a run, in a separate thread.

    `sent`: number of records passed to the cluster; `dealt`: by kind of topic and strategy; `sampled`: number of the
    shop's messages available for copying, by kind of topic.
    """

    def __init__(self, arguments: argparse.Namespace, servers: str, names: Mapping[str, str], ids: list[str]) -> None:
        self._arguments = arguments
        self._connection = Connection(servers)
        self._names = names
        self.ids = ids
        self._real: dict[str, deque[Record]] = {topic: deque(maxlen=MAX_SAMPLES) for topic in TOPICS}
        self._ends: dict[TopicPartition, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.producers: list[ForeignProducer] = []
        self.sent = 0
        self.dealt: Counter[str] = Counter()
        self.sampled: Counter[str] = Counter()
        self.errors: list[str] = []

    def start(self) -> None:
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join(60)

    def count(self, what: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for producer in self.producers:
            total.update(getattr(producer, what))
        return total

    async def _run(self) -> None:
        logs = Logs(self._connection)
        sampling = asyncio.create_task(self._sample(logs))
        count = self._arguments.strangers
        self.producers = [ForeignProducer(self._connection, f"foreign-{n}", self._names) for n in range(count)]
        try:
            await asyncio.gather(*(self._send(f"stranger {n}", producer) for n, producer in enumerate(self.producers)))
        except Exception:
            self.errors.append(traceback.format_exc())
        finally:
            sampling.cancel()
            for each in (*self.producers, logs):
                await each.stop()

    async def _send(self, name: str, producer: ForeignProducer) -> None:
        """Append hostile records at a steady pace, until all are sent."""
        arguments, dice = self._arguments, dice_of(self._arguments.seed, name)
        deck, began = Deck(dice, arguments.only, arguments.without), time.monotonic()
        for attack in attacks(dice, deck, self._world):
            ahead = self.sent / arguments.records * arguments.seconds - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)
            if self._over.is_set() or self.sent >= arguments.records:
                return
            for topic, dealt in attack.records.items():
                self.sent += len(dealt)
                self.dealt.update(f"{topic}: {strategy}" for strategy, _ in dealt)
            await producer.append(attack)

    def _world(self) -> World:
        real = {topic: list(records) for topic, records in self._real.items()}
        return World(self._arguments.partitions, self.ids, time.time_ns() // 1_000_000, self._names, real)

    async def _sample(self, logs: Logs) -> None:
        """Sample repeatedly what the shop has written."""
        producer_id = None
        while True:
            try:
                if producer_id is None:
                    producer_id = await producer_id_of(logs, self._names["opening"])
                for topic in TOPICS:
                    for partition in range(1 if topic in SINGLE else self._arguments.partitions):
                        await self._sample_of(logs, topic, TopicPartition(self._names[topic], partition), producer_id)
            except (KafkaError, OSError):
                pass
            except Exception:
                self.errors.append(traceback.format_exc())
                return
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _sample_of(self, logs: Logs, topic: str, tp: TopicPartition, producer_id: int) -> None:
        start = max(await logs.first(tp), await logs.end(tp) - SEARCHED_OFFSETS, self._ends.get(tp, 0))
        for batch in await logs.batches(tp, start):
            self._ends[tp] = batch.next
            # The opening is written before the shop has a producer id.
            if is_of(batch, producer_id) or (topic == "opening" and batch.first == 0):
                for m in messages(batch)[-3:]:
                    headers = tuple((name.encode(), value) for name, value in m.headers)
                    self._real[topic].append(Record(m.key, m.value, headers, m.timestamp, tp.partition))
                    self.sampled[topic] += 1


async def producer_id_of(logs: Logs, topic: str) -> int:
    """Return the id of the shop's producer: that of the first opening that has one."""
    for batch in await logs.all(TopicPartition(topic, 0)):
        try:
            for message in [] if batch.is_control else messages(batch):
                return int(json.loads(message.value)["producer_id"])
        except (ValueError, LookupError, TypeError, RecursionError):
            continue  # junk from foreign producers
    raise LookupError(f"there is no opening on {topic}")


class Fuzz(Chaos):
    """One run: a shop, its workers, a broker, and foreign producers.

    `problems`: what went wrong, one or more lines each.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        super().__init__(arguments, folder)
        (folder / "fuzz.ini").write_text(INCIDENTS)
        shelf = {
            "INVENTORY_MIN_INVENTORY": str(round(SHELF_SECONDS[0] * arguments.rate)),
            "INVENTORY_RESTOCK_AMOUNT": str(round(SHELF_SECONDS[1] * arguments.rate)),
            "CLOCK_ON_RESTART": self.dice.choice(("catch_up", "skip")),
        }
        self.shop.configure(**LIVELY_SHOP | shelf | FORMATS[arguments.format], CONFIG=str(folder / "fuzz.ini"))
        self.settings = ini.load(self.shop.environment, folder)
        kafka = self.settings.kafka
        self.names = {
            **{what: self.shop.topic(what) for what in TOPICS},
            "opening": topics.opening_topic(kafka),
            "control": topics.control_topic(kafka),
            "changelog": topics.changelog_topic(kafka),
            "shelves": topics.shelves_topic(kafka),
        }
        self.products = catalog.load(self.settings.sales.products)
        ids = [product.product_id for product in self.products]
        self.foreign_producers = ForeignProducers(arguments, self.shop.servers, self.names, ids)
        self.used_partitions = sorted({default_partition(product_id, arguments.partitions) for product_id in ids})
        self.servers = self.shop.servers
        self.problems: list[str] = []
        self.foreign: Counter[str] = Counter()
        self.unparsed: Counter[str] = Counter()
        self.audited: dict[str, Any] = {}

    def open(self) -> bool:
        """Open the shop on an opening topic that already holds junk; return whether it opened."""
        with self.checking("opening the shop"):
            self.broker.start()
            if self.arguments.junk_first:
                asyncio.run(self._write_junk_first())
            self.begin()
            added = yasdg(self.shop, "incident", "add", "live-sale", "--product", self.products[0].product_id, *LIVE)
            if added.returncode:
                self.problems.append(f"yasdg incident add: {added.stdout}{added.stderr}")
            asyncio.run(self._allow_any_timestamp())
            return True
        return False

    async def _allow_any_timestamp(self) -> None:
        """Make the cluster accept records of the far future, which it rejects by default and other clusters accept."""
        async with administration(Connection(self.servers)) as admin:
            for spec in topics.specs(self.settings):
                config = {**spec.config, "message.timestamp.after.max.ms": str(2**63 - 1)}
                await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name, config)])

    async def _write_junk_first(self) -> None:
        """Create the opening topic as a worker does, and append records that are no openings."""
        name, dice, connection = self.names["opening"], dice_of(self.arguments.seed, "first"), Connection(self.servers)
        async with administration(connection) as admin:
            spec = next(spec for spec in topics.specs(self.settings) if spec.name == name)
            await admin.create_topics([NewTopic(name, spec.partitions, 1, topic_configs=spec.config)])
        producer = ForeignProducer(connection, "first", self.names)
        world = World(self.arguments.partitions, self.foreign_producers.ids, time.time_ns() // 1_000_000)
        for strategy in NO_OPENING:
            records = [(strategy, hostile(dice, world, "opening", strategy))]
            await producer.append(Attack({"opening": records}, "none", dice.choice(WAYS)))
        await producer.stop()

    def run(self) -> None:
        """Let foreign producers append, and stop and kill workers, until all records are sent."""
        arguments = self.arguments
        self.foreign_producers.start()
        began = report_at = time.monotonic()
        if arguments.interval:
            self.after(arguments.interval, self.fail)
        if arguments.broker_restart:
            self.after(arguments.seconds / 2, self.fail_broker)
        while not self.foreign_producers.is_done and time.monotonic() - began < ABORT_FACTOR * arguments.seconds + 60:
            self.check_workers()
            self.do_what_is_due()
            if len(self.unexpected) >= MAX_ENDINGS:
                self.problems.append(f"given up after {len(self.unexpected)} workers had ended by themselves")
                break
            if time.monotonic() > report_at:
                report_at += 10
                done = self.foreign_producers.sent / arguments.records
                log(f"{self.foreign_producers.sent} records ({done:.0%}); {len(self.unexpected)} ended by themselves")
            time.sleep(0.05)
        self.foreign_producers.stop()
        self.due = [each for each in self.due if each[2] in (self.start_worker, self.restart_broker)]
        self.problems += self.foreign_producers.errors
        if unread := [topic for topic in ALWAYS_WRITTEN if not self.foreign_producers.sampled[topic]]:
            self.problems.append(f"no message of the shop was found to be copied on {', '.join(unread)}")
        if self.foreign_producers.sent < arguments.records and len(self.unexpected) < MAX_ENDINGS:
            self.problems.append(f"only {self.foreign_producers.sent} of {arguments.records} records were sent in time")

    def do_what_is_due(self) -> None:
        due = [each for each in self.due if each[0] <= time.monotonic()]
        self.due = [each for each in self.due if each not in due]
        for _, _, action in sorted(due, key=lambda each: each[:2]):
            action()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.due.append((time.monotonic() + seconds, self.dice.randrange(2**40), action))

    def fail_broker(self) -> None:
        log("      broker")
        self.failures["broker"] += 1
        self.kill_broker()

    # --- End --------------------------------------------------------------------------------------------------------

    @contextmanager
    def checking(self, what: str) -> Any:
        """Record the exception of a check as a problem; the other checks still run."""
        log(what)
        try:
            yield
        except Exception as error:
            log(f"      {type(error).__name__}: {error}"[:300])
            self.problems.append(f"{what}: {type(error).__name__}: {error}"[:3000])

    def check_that_it_sells(self) -> None:
        """Check that every partition has sales after the last hostile record, and that workers are ready."""
        with self.checking("looking whether every partition sells"):
            if self.separate:
                self.restart_broker()
            silent = asyncio.run(self._silent_partitions())
            assert not silent, f"no sale within {MAX_SALE_WAIT_SECONDS:.0f} s in partitions {silent}"
        with self.checking("looking whether the workers are ready"):
            for worker in list(self.workers):
                worker.until(lambda worker=worker: is_ready(worker), "/ready/ is true", MAX_READY_SECONDS)

    async def _silent_partitions(self) -> list[int]:
        """Return the partitions with products in which the shop sells nothing."""
        logs = Logs(Connection(self.shop.servers))
        try:
            producer_id = await producer_id_of(logs, self.names["opening"])
            tps = {p: TopicPartition(self.names["purchases"], p) for p in self.used_partitions}
            ends = {p: await logs.end(tp) for p, tp in tps.items()}
            deadline = time.monotonic() + MAX_SALE_WAIT_SECONDS
            while ends and time.monotonic() < deadline:
                self.check_workers()
                self.do_what_is_due()
                for p, end in list(ends.items()):
                    if any(is_of(batch, producer_id) for batch in await logs.batches(tps[p], end)):
                        del ends[p]
                await asyncio.sleep(0.2)
            return sorted(ends)
        finally:
            await logs.stop()

    def check_logs(self) -> None:
        """Check that no worker printed a traceback, or too much."""
        with self.checking("reading what the workers printed"):
            found: dict[str, list[str]] = {}
            for worker in self.shop._workers:
                said = worker.said
                for match in TRACEBACK.finditer(said):
                    found.setdefault(match["error"][:200], []).append(match[0][-3000:])
                if len(said) > MAX_LOG_BYTES:
                    self.problems.append(f"{worker.web} printed {len(said)} bytes. The end:\n{said[-1000:]}")
            for error, tracebacks in found.items():
                self.problems.append(f"{len(tracebacks)} tracebacks in workers' logs: {error}\n{tracebacks[0]}")

    def check_audit(self) -> None:
        with self.checking("auditing"):
            audited = yasdg(self.shop, "audit", "--json", seconds=600)
            assert "Traceback" not in audited.stderr, audited.stderr[-2500:]
            assert audited.stdout.startswith("{"), f"status {audited.returncode}: {audited.stderr[-1000:]}"
            self.audited = json.loads(audited.stdout)
            self.foreign = asyncio.run(self._count_foreign())
            if not self.audited["balanced"]:
                kinds, some = self.audited["kinds"], self.audited["findings"][:10]
                self.problems.append(f"the books do not balance: {kinds}: {json.dumps(some, indent=1)[:2500]}")
            named = self.audited.get("foreign")
            assert named is not None, "the report has no field `foreign`: topic → number of foreign messages"
            for topic in COUNTED:
                name, there = self.names[topic], self.foreign[topic]
                if not there - self.unparsed[topic] <= (found := named.get(name, named.get(topic, 0))) <= there:
                    self.problems.append(f"the audit names {found} foreign messages on {name}, there are {there}")

    async def _count_foreign(self) -> Counter[str]:
        """Count the messages of other producers on each topic, according to the headers of their batches."""
        logs, foreign = Logs(Connection(self.shop.servers)), Counter[str]()
        try:
            producer_id = await producer_id_of(logs, self.names["opening"])
            for topic in TOPICS:
                for partition in range(1 if topic in SINGLE else self.arguments.partitions):
                    for batch in await logs.all(TopicPartition(self.names[topic], partition)):
                        if not batch.is_control and batch.producer_id != producer_id:
                            foreign[topic] += batch.count
                            # A batch that aiokafka cannot parse may count as one message.
                            self.unparsed[topic] += 0 if is_parsed(batch) else batch.count - 1
        finally:
            await logs.stop()
        return foreign

    def check_commands(self) -> None:
        with ThreadPoolExecutor(MAX_CONSUMERS) as pool:
            list(pool.map(self.check_consume, CONSUMED))
        for command in (("topics",), ("incident",)):
            with self.checking(f"yasdg {' '.join(command)}"):
                done = yasdg(self.shop, *command, seconds=COMMAND_SECONDS)
                assert "Traceback" not in done.stderr, done.stderr[-2500:]
                assert command == ("incident",) or not done.returncode, done.stderr[-1000:]

    def check_consume(self, what: str) -> None:
        with self.checking(f"yasdg consume {what}"):
            self.consume(what)

    def consume(self, what: str) -> None:
        """Read a topic to its end as a user does, who then presses Ctrl-C."""
        command = [sys.executable, "-m", "yasdg_app", "consume", what, "--from-beginning", "--json"]
        out, err = (self.shop.folder / f"consume-{what}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                command, cwd=self.shop.folder, env=self.shop.environment, stdout=stdout, stderr=stderr
            )
        try:
            deadline, size, since = time.monotonic() + COMMAND_SECONDS, 0, time.monotonic()
            while process.poll() is None and time.monotonic() < deadline:
                if (now := out.stat().st_size) != size:
                    size, since = now, time.monotonic()
                elif size and time.monotonic() - since > QUIET_SECONDS:
                    break
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            status = process.wait(30)
        finally:
            process.kill()
            process.wait()
            out.unlink()
        said = err.read_text(errors="replace")
        assert "Traceback" not in said, said[-2500:]
        assert status in (0, -signal.SIGINT), f"status {status}: {said[-1000:]}"
        assert size, f"it printed nothing; {said[-1000:]}"

    def check_bytes(self) -> None:
        """Check that the shop's own messages are those of the simulation."""
        with self.checking("comparing the shop's own messages with the simulation"):
            different = asyncio.run(self._differences())
            assert not different, "\n".join(different[:10])

    async def _differences(self) -> list[str]:
        plan, different = await asyncio.to_thread(plan_of, self.shop), []
        logs = Logs(Connection(self.shop.servers))
        try:
            producer_id = await producer_id_of(logs, self.names["opening"])
            for partition in self.used_partitions:
                own = [
                    each
                    for each in plan.products
                    if default_partition(each.product_id, self.arguments.partitions) == partition
                ]
                for what, when in WHEN.items():
                    tp = TopicPartition(self.names[what], partition)
                    logged = await logs.own(tp, producer_id)
                    until = event_time(json.loads(logged[-1].value)[when]) if logged else plan.opened_at
                    expected = made(Till(plan, own), what, until)
                    for message in logged:
                        if message.value != (wanted := next(expected, None)):
                            different.append(f"{tp}, offset {message.offset}: {message.value!r}, not {wanted!r}")
                            break
                    else:
                        if logged and (rest := next(expected, None)) is not None:
                            different.append(f"{tp} ends after {logged[-1].offset}, without {rest!r}")
                        if what == "purchases" and not logged:
                            different.append(f"{tp}: the shop has sold nothing")
        finally:
            await logs.stop()
        return different


def is_parsed(batch: Batch) -> bool:
    try:
        messages(batch)
    except UnicodeDecodeError:
        return False
    return True


def is_ready(worker: Worker) -> bool:
    return bool(worker.get("/ready/").get("ready", True))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--records", type=int, default=100_000, help="total number of hostile records (default: 100000)"
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="time in which they are appended (default: 300)")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--strangers", type=int, default=4, help="foreign producers (default: 4)")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1_000.0, help="sales per second of the shop (default: 1000)")
    parser.add_argument("--format", choices=FORMATS, default="json", help="of the shop's messages (default: json)")
    parser.add_argument("--interval", type=float, default=12.0, help="mean seconds between restarts; 0: none")
    parser.add_argument("--broker", choices=("embedded", "separate"), default="separate")
    parser.add_argument("--broker-restart", action="store_true", help="kill the broker once, in the middle of the run")
    junk_first = argparse.BooleanOptionalAction
    parser.add_argument(
        "--junk-first", action=junk_first, default=True, help="junk on the opening topic before the shop opens"
    )
    parser.add_argument("--only", action="append", default=[], metavar="TOPIC[:STRATEGY]", help="these; repeatable")
    parser.add_argument("--without", action="append", default=[], metavar="[TOPIC]:STRATEGY", help="all but these")
    parser.add_argument("--list", action="store_true", help="list topics and strategies, and end")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="of the random choices (default: a new one)"
    )
    parser.add_argument("--keep", type=Path, help="create the shop's folder here, and keep it with the workers' logs")
    parser.add_argument("--report", type=Path, help="write the run's report to this file, as JSON")
    arguments = parser.parse_args()
    arguments.kinds, arguments.beyond, arguments.failures = ["kill", "stop", "start"], False, 0
    return arguments


def main() -> int:
    let_children_be_interrupted()
    arguments = read_arguments()
    if arguments.list:
        print("\n".join(f"{topic}: {strategy}" for topic in TOPICS for strategy in STRATEGIES[topic]))
        return 0
    log(f"seed {arguments.seed}: {' '.join(sys.argv[1:])}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="yasdg-fuzz-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        fuzz = Fuzz(arguments, folder)
        try:
            if fuzz.open():
                fuzz.run()
                fuzz.check_that_it_sells()
            with fuzz.checking("stopping the workers, and draining"):
                fuzz.drain()
            fuzz.check_logs()
            fuzz.broker.start()
            fuzz.check_audit()
            fuzz.check_commands()
            if arguments.format == "json":
                fuzz.check_bytes()
        finally:
            fuzz.foreign_producers.stop()
            fuzz.close()
    print_report(
        arguments,
        began,
        records=fuzz.foreign_producers.sent,
        appended=dict(fuzz.foreign_producers.count("appended")),
        refused=dict(fuzz.foreign_producers.count("refused")),
        unanswered=dict(fuzz.foreign_producers.count("unanswered")),
        reasons=dict(fuzz.foreign_producers.count("reasons").most_common(30)),
        strategies=len(fuzz.foreign_producers.dealt),
        sampled=dict(fuzz.foreign_producers.sampled),
        foreign=dict(fuzz.foreign),
        failures=dict(fuzz.failures),
        workers_started=fuzz.started,
        workers_that_ended_by_themselves=len(fuzz.unexpected),
        problems=fuzz.problems,
        audit={name: value for name, value in fuzz.audited.items() if name != "findings"},
    )
    for text in fuzz.unexpected:
        print(text, file=sys.stderr)
    for problem in fuzz.problems:
        log(f"PROBLEM: {problem}")
    well = not fuzz.problems and not fuzz.unexpected
    log("passed" if well else f"failed: {len(fuzz.unexpected)} workers ended, {len(fuzz.problems)} problems")
    return 0 if well else 1


assert SESSION_SECONDS < MAX_SALE_WAIT_SECONDS  # before that, a killed worker's partitions move to others

if __name__ == "__main__":
    sys.exit(main())
