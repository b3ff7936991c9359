"""A shop whose workers and broker are killed, frozen, stopped and started at random: see tests/chaos.py and fuzz.py."""

import argparse
import contextlib
import heapq
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from support.shop import Shop, Worker
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.folder import BrokerFolder
from yasdg_app.kafka.embedded.node import free_port

SESSION_SECONDS = 6.0  # after which the group gives a silent worker's partitions to others
MAX_FREEZE_SECONDS = 3 * SESSION_SECONDS
FAILURES = ("kill", "freeze", "stop", "start", "broker")
WORKER_FAILURES = ("kill", "freeze", "stop")

# Shelves that are sometimes empty at any rate, and customers who then buy a substitute.
SCARCE = {
    "SALES_SUBSTITUTION_FREQ": "5",
    "SUPPLY_LEAD_TIME": "5s - 10s - 60s",
    "SUPPLY_PARTIAL_FREQ": "3",
    "INVENTORY_MIN_INVENTORY": "2000",
    "INVENTORY_RESTOCK_AMOUNT": "8000",
}


class Chaos:
    """One run: a shop, its workers, a broker, and a random generator."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.dice = random.Random(arguments.seed)
        self.port = free_port()
        self.separate = arguments.broker == "separate"
        self.broker_folder = folder / ("broker" if self.separate else "data")
        self.broker = EmbeddedBroker(self.broker_folder, self.port)
        self.shop = Shop(folder, "chaos").configure(
            KAFKA_PARTITIONS=str(arguments.partitions),
            KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{self.port}" if self.separate else "embedded",
            KAFKA_EMBEDDED_PORT=str(self.port),
            SALES_MAX_SALE_FREQ=f"{2 / arguments.rate:.9f}",
            **SCARCE,
        )
        self.shop.servers = f"127.0.0.1:{self.port}"
        self.workers: list[Worker] = []
        self.frozen: set[Worker] = set()
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.failures: Counter[str] = Counter()
        self.stopped: list[Worker] = []
        self.started = 0
        self.unexpected: list[str] = []

    def begin(self) -> None:
        if self.separate:
            self.broker.start()
        for _ in range(self.arguments.workers):
            self.start_worker()
        first = self.workers[0]
        first.until(lambda: "sales so far" in first.said, "the first sales")

    def run(self) -> None:
        """Cause failures until there were enough, or the time is up."""
        end = time.monotonic() + self.arguments.seconds
        most = self.arguments.failures or sys.maxsize
        self.after(self.arguments.interval, self.fail)
        while time.monotonic() < end and self.failures.total() < most:
            self.check_workers()
            while self.due and self.due[0][0] <= time.monotonic():
                heapq.heappop(self.due)[2]()
            time.sleep(0.05)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.due, (time.monotonic() + seconds, len(self.due) + self.dice.randrange(2**40), action))

    def fail(self) -> None:
        awake = [worker for worker in self.workers if worker not in self.frozen]
        kinds = [kind for kind in self.arguments.kinds if awake or kind not in WORKER_FAILURES]
        if len(self.workers) > self.arguments.workers:
            kinds = [kind for kind in kinds if kind != "start"]
        if kinds:
            kind = self.dice.choice(kinds)
            self.failures[kind] += 1
            log(f"{self.failures.total():4d}  {kind}")
            if kind in WORKER_FAILURES:
                {"kill": self.kill, "freeze": self.freeze, "stop": self.stop}[kind](self.dice.choice(awake))
            else:
                {"start": self.start_worker, "broker": self.kill_broker}[kind]()
        self.after(self.dice.uniform(0.3, 1.7) * self.arguments.interval, self.fail)

    # --- Failures ---------------------------------------------------------------------------------------------------

    def kill(self, worker: Worker) -> None:
        self.workers.remove(worker)
        worker.kill()
        self.replace()

    def freeze(self, worker: Worker) -> None:
        worker.process.send_signal(signal.SIGSTOP)
        self.frozen.add(worker)
        shortest = SESSION_SECONDS + 1 if self.arguments.beyond else 1.0
        self.after(self.dice.uniform(shortest, MAX_FREEZE_SECONDS), lambda: self.thaw(worker))

    def thaw(self, worker: Worker) -> None:
        self.frozen.discard(worker)
        worker.process.send_signal(signal.SIGCONT)

    def stop(self, worker: Worker) -> None:
        self.workers.remove(worker)
        worker.process.send_signal(signal.SIGINT)
        self.stopped.append(worker)
        self.replace()

    def start_worker(self) -> None:
        self.started += 1
        self.workers.append(self.shop.worker())

    def replace(self) -> None:
        if len(self.workers) < self.arguments.workers:
            self.after(self.dice.uniform(0, 5), self.start_worker)

    def kill_broker(self) -> None:
        status = BrokerFolder(self.broker_folder).read_status()
        if status is not None and status.java_pid is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                killed = psutil.Process(status.java_pid)
                killed.kill()
                killed.wait(30)  # until then it may still answer, and no worker would start another one
        if self.separate:  # the workers restart the embedded one themselves
            self.after(self.dice.uniform(0, 8), self.restart_broker)

    def restart_broker(self) -> None:
        self.broker.start()  # regardless of its folder, which may predate the kill

    def check_workers(self) -> None:
        """Check that no worker ended unexpectedly."""
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                self.workers.remove(worker)
                self.report_ending(worker, f"ended by itself with status {worker.process.returncode}")
                self.replace()
        for worker in [worker for worker in self.stopped if worker.process.poll() is not None]:
            self.stopped.remove(worker)
            self.wait_until_stopped(worker)

    def report_ending(self, worker: Worker, what: str) -> None:
        log(f"      a worker {what}")
        output = worker.said
        begin = max(0, min(output.find(word) % len(output) for word in ("[ERROR]", "[CRITICAL]")) - 500)
        self.unexpected.append(f"A worker {what}. Its output:\n{output[begin : begin + 4000]}\n...\n{output[-1500:]}")

    # --- End --------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Stop all workers, and start one that processes the rest and sells nothing more."""
        for worker in list(self.frozen):
            self.thaw(worker)
        if self.separate:
            self.restart_broker()
        for worker in self.workers:
            worker.process.send_signal(signal.SIGINT)
        for worker in self.workers + self.stopped:
            self.wait_until_stopped(worker)
        # A run with a number of sales ends when they are produced and processed; this one already has them.
        self.shop.configure(SALES_NUMBER_OF_SALES="1")
        last = self.shop.worker()
        if last.ends(300) != 0:
            self.report_ending(last, "that was to drain the log failed")

    def wait_until_stopped(self, worker: Worker) -> None:
        try:
            status = worker.process.wait(60)
        except subprocess.TimeoutExpired:
            self.report_ending(worker, "did not stop within 60 s")
            worker.kill()
            return
        early, alone = status == -signal.SIGINT, "Stopped without Apache Kafka" in worker.said
        if status != 0 and not early and not alone:
            self.report_ending(worker, f"stopped with status {status}")

    def audit(self) -> dict[str, Any]:
        audited = subprocess.run(
            [sys.executable, "-m", "yasdg_app", "audit", "--json"],
            cwd=self.shop.folder, env=self.shop.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        report: dict[str, Any] = json.loads(audited.stdout)
        return report

    def close(self) -> None:
        for worker in self.frozen:
            worker.process.send_signal(signal.SIGCONT)
        self.shop.close()
        self.broker.stop()


def log(text: str) -> None:
    """Print a line with the time of day."""
    print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)


def print_report(arguments: argparse.Namespace, began: float, **results: Any) -> None:
    """Print the report of a run as JSON, and write it to --report; `began`: by the monotonic clock."""
    report = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total // 2**30} GiB, {platform.platform()}",
        "arguments": {name: str(value) for name, value in vars(arguments).items() if name != "report"},
        "seconds": round(time.monotonic() - began),
        **results,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.report:
        arguments.report.write_text(text + "\n")
