"""Shops for tests: workers as users start them, and the content of their topics."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.embedded.node import free_port
from yasdg_app.kafka.reader import Message, Reader

LAUNCHERS = Path(__file__).parents[1] / "launchers"
FAST = {"YASDG_SALES_MIN_SALE_FREQ": "0", "YASDG_SALES_MAX_SALE_FREQ": "0.01"}  # 200 sales a second


KEPT = {"retention.ms": "-1"}
"""For topics with messages of the past: the cluster would delete them at its next check, every five minutes."""


class Worker:
    """A worker process, and everything it printed."""

    def __init__(self, folder: Path, environment: dict[str, str], *program: str) -> None:
        self.web = f"http://127.0.0.1:{(port := free_port())}"
        self._log = folder / f"worker-{port}.log"
        python = [sys.executable, *(program or ("-m", "yasdg_app"))]
        command = [*python, "worker", "-l", "info", "--web-port", str(port)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def get(self, path: str) -> Any:
        """Return the response of the web server, once there is one."""

        def answer() -> Any:
            try:
                with urllib.request.urlopen(self.web + path, timeout=10) as response:
                    return json.load(response)
            except (urllib.error.URLError, OSError):
                return None

        return self.until(answer, f"an answer from {path}")

    def owned(self) -> list[int]:
        """Return the partitions that it currently owns."""
        workers = self.get("/workers/")["workers"]
        partitions: list[int] = next(each["partitions"] for each in workers if each["asked"])
        return partitions

    def until(self, result: Callable[[], Any], what: str, seconds: float = 150) -> Any:
        """Return the first true result; fail if there is none in time, or if the worker ends before."""
        deadline = time.monotonic() + seconds
        while not (value := result()):
            assert self.process.poll() is None, f"The worker ended before {what}. It said:\n{self.said}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s. The worker said:\n{self.said}"
            time.sleep(0.1)
        return value

    def ends(self, seconds: float = 150) -> int:
        """Wait for its end; return its exit status; pytest shows its output if that is unexpected."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"The worker did not end. It said:\n{self.said}") from None
        if status:
            print(f"The worker ended with status {status}. It said:\n{self.said}")
        return status

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.ends()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Shop:
    """The shop of one test, with its own topics, application and folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.servers = ""
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("YASDG_")} | FAST
        self.configure(KAFKA_APPLICATION_ID=name, KAFKA_DATA_DIR=str(folder / "data"))
        for topic in (
            "products",
            "purchases",
            "stockings",
            "lost_sales",
            "incidents",
            "dead_letters",
            "dirty",
            "faults",
        ):
            self.configure(**{f"KAFKA_TOPIC_{topic.upper()}": self.topic(topic)})
        self._workers: list[Worker] = []

    def on(self, servers: str) -> "Shop":
        """Use a running cluster."""
        self.servers = servers
        return self.configure(KAFKA_BOOTSTRAP_SERVERS=servers)

    def embedded(self) -> "Shop":
        """Make the workers run their own cluster."""
        port = free_port()
        self.servers = f"127.0.0.1:{port}"
        return self.configure(KAFKA_BOOTSTRAP_SERVERS="embedded", KAFKA_EMBEDDED_PORT=str(port))

    def configure(self, **values: str) -> "Shop":
        self.environment |= {f"YASDG_{name}": value for name, value in values.items()}
        return self

    def configured_by(self, path: Path) -> "Shop":
        """Use the configuration in a file, including its rate of sales."""
        for name in FAST:
            self.environment.pop(name, None)
        return self.configure(CONFIG=str(path))

    def topic(self, what: str) -> str:
        return f"{self.name}.{what}"

    def worker(self, *program: str) -> Worker:
        """Start a worker; `program`: a file of tests/launchers that starts it in a special way, and its arguments."""
        if program:
            program = (str(LAUNCHERS / program[0]), *program[1:])
        self._workers.append(Worker(self.folder, self.environment, *program))
        return self._workers[-1]

    def partitions(self, topic: str) -> dict[int, list[Message]]:
        """Return everything that a topic currently holds, by partition."""
        return asyncio.run(read(self.servers, topic))

    def read(self, topic: str) -> list[Message]:
        """Return everything that a topic currently holds, partition by partition."""
        return [message for messages in self.partitions(topic).values() for message in messages]

    def messages(self, what: str) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.read(self.topic(what))]

    def purchases(self) -> list[dict[str, Any]]:
        return self.messages("purchases")

    def close(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.kill()


def yasdg(shop: Shop, *arguments: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
    """Run a command as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "yasdg_app", *arguments],
        cwd=shop.folder,
        env=shop.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def consume(shop: Shop, count: int, *arguments: str) -> list[str]:
    """Return the first lines of `yasdg consume`, whose reader then closes the pipe."""
    with subprocess.Popen(
        [sys.executable, "-m", "yasdg_app", "consume", *arguments],
        cwd=shop.folder,
        env=shop.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(count)]
        process.terminate()
    return lines


async def read(servers: str, topic: str) -> dict[int, list[Message]]:
    tps = [TopicPartition(topic, partition) for partition in range(await partitions(servers, topic))]
    async with Reader(Connection(servers)) as reader:
        return {tp.partition: messages for tp, messages in (await reader.read(dict.fromkeys(tps, 0))).items()}


async def partitions(servers: str, topic: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    (description,) = await admin.describe_topics([topic])
    await admin.close()
    assert description["partitions"], f"no topic {topic}"
    return len(description["partitions"])


async def delete_topics(servers: str, prefix: str) -> None:
    """Delete the topics whose names begin like this."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_topics([topic for topic in await admin.list_topics() if topic.startswith(prefix)])
    finally:
        await admin.close()
