"""Chaos test: workers and the broker are killed, frozen, stopped and started at random, then the shop is audited.

    make chaos                                               # four minutes, with the embedded broker
    make chaos ARGS="--failures 100 --broker separate"       # until so many failures
    make chaos ARGS="--seed 7 --kinds freeze --beyond"       # only freezes, each beyond the session timeout

The same seed yields the same random choices; their effect depends on timing. Exit status 0: the audit has no findings,
the log holds exactly the bytes that the simulation alone yields for the same time, and no worker ended unexpectedly.
"""

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
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from oracles.simulation import differences
from support.interrupts import let_children_be_interrupted
from support.shop import Shop, Worker

from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.folder import BrokerFolder
from yasdg_app.kafka.embedded.node import free_port

SESSION = 6.0  # seconds after which the group gives a silent worker's partitions to others
LONGEST_FREEZE = 3 * SESSION
KINDS = ("kill", "freeze", "stop", "start", "broker")
OF_A_WORKER = ("kill", "freeze", "stop")

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
            self.look()
            while self.due and self.due[0][0] <= time.monotonic():
                heapq.heappop(self.due)[2]()
            time.sleep(0.05)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.due, (time.monotonic() + seconds, len(self.due) + self.dice.randrange(2**40), action))

    def fail(self) -> None:
        awake = [worker for worker in self.workers if worker not in self.frozen]
        kinds = [kind for kind in self.arguments.kinds if awake or kind not in OF_A_WORKER]
        if len(self.workers) > self.arguments.workers:
            kinds = [kind for kind in kinds if kind != "start"]
        if kinds:
            kind = self.dice.choice(kinds)
            self.failures[kind] += 1
            tell(f"{self.failures.total():4d}  {kind}")
            if kind in OF_A_WORKER:
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
        shortest = SESSION + 1 if self.arguments.beyond else 1.0
        self.after(self.dice.uniform(shortest, LONGEST_FREEZE), lambda: self.thaw(worker))

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

    def look(self) -> None:
        """Check that no worker ended unexpectedly."""
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                self.workers.remove(worker)
                self.blame(worker, f"ended by itself with status {worker.process.returncode}")
                self.replace()
        for worker in [worker for worker in self.stopped if worker.process.poll() is not None]:
            self.stopped.remove(worker)
            self.has_stopped(worker)

    def blame(self, worker: Worker, what: str) -> None:
        tell(f"      a worker {what}")
        said = worker.said
        begin = max(0, min(said.find(word) % len(said) for word in ("[ERROR]", "[CRITICAL]")) - 500)
        self.unexpected.append(f"A worker {what}. It said:\n{said[begin : begin + 4000]}\n...\n{said[-1500:]}")

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
            self.has_stopped(worker)
        # A run with a number of sales ends when they are produced and processed; this one already has them.
        self.shop.configure(SALES_NUMBER_OF_SALES="1")
        last = self.shop.worker()
        if last.ends(300) != 0:
            self.blame(last, "that was to drain the log failed")

    def has_stopped(self, worker: Worker) -> None:
        try:
            status = worker.process.wait(60)
        except subprocess.TimeoutExpired:
            self.blame(worker, "did not stop within 60 s")
            worker.kill()
            return
        early, alone = status == -signal.SIGINT, "Stopped without Apache Kafka" in worker.said
        if status != 0 and not early and not alone:
            self.blame(worker, f"stopped with status {status}")

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


def tell(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0, help="how long things fail (default: 240)")
    parser.add_argument("--failures", type=int, default=0, help="end after so many, if that is earlier")
    parser.add_argument("--interval", type=float, default=5.0, help="mean seconds between failures (default: 5)")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--rate", type=float, default=5_000.0, help="sales a second, in all (default: 5000)")
    parser.add_argument("--broker", choices=("embedded", "separate"), default="embedded")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="what may happen (default: all)")
    parser.add_argument("--beyond", action="store_true", help="freeze for longer than the session timeout, always")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the dice (default: a new one)")
    parser.add_argument("--report", type=Path, help="write the run's report to this file, as JSON")
    return parser.parse_args()


def main() -> int:
    let_children_be_interrupted()
    arguments = read_arguments()
    tell(f"seed {arguments.seed}: {' '.join(sys.argv[1:])}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="yasdg-chaos-") as folder:
        chaos = Chaos(arguments, Path(folder))
        try:
            chaos.begin()
            chaos.run()
            tell("draining")
            chaos.drain()
            tell("auditing")
            chaos.broker.start()
            audited = chaos.audit()
            tell(f"comparing {audited['purchases']} purchases with the simulation")
            different = differences(chaos.shop, foreign=True)
        finally:
            chaos.close()
    report = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total // 2**30} GiB, {platform.platform()}",
        "arguments": {name: str(value) for name, value in vars(arguments).items() if name != "report"},
        "seconds": round(time.monotonic() - began),
        "failures": dict(chaos.failures),
        "workers_started": chaos.started,
        "workers_that_ended_by_themselves": len(chaos.unexpected),
        "differences_from_the_simulation": different[:20],
        "audit": audited,
    }
    print(json.dumps(report, indent=2))
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=2) + "\n")
    for text in chaos.unexpected:
        print(text, file=sys.stderr)
    return 0 if audited["balanced"] and not different and not chaos.unexpected else 1


if __name__ == "__main__":
    sys.exit(main())
