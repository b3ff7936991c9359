"""The embedded broker's life with real processes: shared, left, killed, and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from yasdg_app.kafka.embedded.broker import BrokerError, EmbeddedBroker, run_in_foreground
from yasdg_app.kafka.embedded.folder import BrokerFolder, Status, answers
from yasdg_app.kafka.embedded.java import java_command
from yasdg_app.kafka.embedded.node import free_port

USER = """
import sys, time; from pathlib import Path; from yasdg_app.kafka.embedded.broker import EmbeddedBroker
broker = EmbeddedBroker(Path(sys.argv[1]), int(sys.argv[2])); print(broker.start(), flush=True)
time.sleep(600)
"""
FOREGROUND = """
import sys; from pathlib import Path; from yasdg_app.kafka.embedded.broker import run_in_foreground
sys.exit(run_in_foreground(Path(sys.argv[1]), int(sys.argv[2])))
"""


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str
    data_dir: Path
    port: int


class Place:
    """A folder and a port for one test's brokers, and all who use them."""

    def __init__(self, path: Path) -> None:
        self.path, self.port = path, free_port()
        self.folder = BrokerFolder(path)
        self._users: list[EmbeddedBroker] = []
        self._processes: list[subprocess.Popen[str]] = []

    def user(self, port: int | None = None) -> EmbeddedBroker:
        self._users.append(EmbeddedBroker(self.path, port or self.port))
        return self._users[-1]

    def process(self, script: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(self.path), str(self.port)], stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        return process

    def status(self) -> Status:
        status = self.folder.read_status()
        assert status is not None
        return status

    def java(self) -> psutil.Process:
        return psutil.Process(self.status().java_pid)

    def is_deserted(self) -> bool:
        return not self.folder.is_supervised() and not answers(self.port)

    def clear(self) -> None:
        for user in self._users:
            user.stop()
        for process in self._processes:
            process.kill()
            process.communicate()
        eventually(self.is_deserted)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # What may be in a path: Java's properties, Kafka's lists and the shell each dislike some of it.
    place = Place(tmp_path / "a shop, größer: 100% \\ more" / "kafka")
    yield place
    place.clear()


def eventually(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {true}"
        time.sleep(0.02)


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def write(servers: str, topic: str, values: list[bytes]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(servers: str, topic: str, group: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, group_id=group, auto_offset_reset="earliest", session_timeout_ms=6000
    )
    async with consumer:
        values = [(await consumer.getone()).value for _ in range(count)]
        await consumer.commit()
    return [value for value in values if value is not None]


async def test_what_was_written_and_read_is_known_after_a_restart(place: Place) -> None:
    broker = place.user()
    servers = broker.start()
    assert servers == f"127.0.0.1:{place.port}"
    await write(servers, "sold", [b"yesterday", b"last night"])
    assert await read(servers, "sold", "counting", 1) == [b"yesterday"]
    broker.stop()
    assert place.is_deserted()
    assert broker.start() == servers
    assert await read(servers, "sold", "counting", 1) == [b"last night"]


def test_starting_and_stopping_twice_is_as_good_as_once(place: Place) -> None:
    broker = place.user()
    assert not broker.is_running()
    broker.stop()
    address, java = broker.start(), place.java()
    assert broker.start() == address
    assert place.java() == java
    assert broker.is_running()
    broker.stop()
    broker.stop()
    assert not broker.is_running()
    assert not java.is_running()


def test_two_users_share_a_broker_and_it_goes_with_the_last(place: Place) -> None:
    first, second = place.user(), place.user()
    first.start()
    java = place.java()
    second.start()
    assert place.java() == java
    first.stop()
    assert not first.is_running()
    assert second.is_running()
    second.stop()
    assert not java.is_running()
    assert place.is_deserted()


def test_users_that_start_at_the_same_time_get_the_same_broker(place: Place) -> None:
    users = [place.user() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(EmbeddedBroker.start, users)) == {f"127.0.0.1:{place.port}"}
    assert all(user.is_running() for user in users)


def test_a_user_that_comes_while_the_last_one_leaves_gets_a_broker_that_stays(place: Place) -> None:
    leaving, coming = place.user(), place.user()
    leaving.start()
    with ThreadPoolExecutor() as threads:
        left = threads.submit(leaving.stop)
        eventually(lambda: (place.folder.read_status() or place.status()).state == "stopping")
        coming.start()
        left.result()
    assert coming.is_running()
    assert place.status().state == "ready"


def test_a_killed_user_leaves_nothing_running_and_nothing_locked(place: Place) -> None:
    user = place.process(USER)
    assert line_of(user) == f"127.0.0.1:{place.port}"
    supervisor, java = psutil.Process(place.status().pid), place.java()
    user.kill()
    user.wait()
    eventually(lambda: not supervisor.is_running() and not java.is_running())
    assert place.is_deserted()
    place.user().start()


def test_a_user_killed_while_the_broker_starts_leaves_nothing_either(place: Place) -> None:
    user = place.process(USER)
    eventually(place.folder.is_supervised)
    user.kill()
    user.wait()
    eventually(place.is_deserted)


def test_ctrl_c_at_a_user_spares_the_broker_for_the_others(place: Place) -> None:
    first = place.process(USER)
    line_of(first)
    second = place.user()
    second.start()
    first.send_signal(signal.SIGINT)
    first.wait()
    assert second.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends it")
def test_a_killed_keeper_takes_kafka_along_and_the_next_start_works(place: Place) -> None:
    broker = place.user()
    broker.start()
    status, java = place.status(), place.java()
    os.kill(status.pid, signal.SIGKILL)
    eventually(lambda: not java.is_running())
    assert not broker.is_running()
    broker.start()
    assert broker.is_running()
    assert place.status().pid != status.pid


def test_a_kafka_that_was_killed_is_told_of_and_started_again(place: Place) -> None:
    broker = place.user()
    broker.start()
    place.java().kill()
    eventually(lambda: not place.folder.is_supervised())
    assert not broker.is_running()
    assert place.status().state == "failed"
    assert "ended by itself (status -9)" in (place.status().error or "")
    broker.start()
    assert broker.is_running()


def test_a_kafka_that_is_killed_while_it_starts_is_started_again(place: Place) -> None:
    broker = place.user()
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(broker.start)
        eventually(lambda: (status := place.folder.read_status()) is not None and status.java_pid is not None)
        first = place.java()
        first.kill()
        started.result()
    assert broker.is_running()
    assert place.java().pid != first.pid


def test_a_port_that_is_taken_is_named_with_the_program_and_the_setting(place: Place) -> None:
    broker = place.user()
    with socket.create_server(("127.0.0.1", place.port)), pytest.raises(BrokerError) as raised:
        broker.start()
    assert str(raised.value).startswith(f"Port {place.port} is taken by ")
    assert "[KAFKA] embedded_port" in str(raised.value)
    assert "\n" not in str(raised.value)
    if sys.platform == "linux":
        assert f"(process {os.getpid()})" in str(raised.value)
    assert not broker.is_running()
    broker.start()


def test_a_broker_that_runs_on_another_port_is_not_taken_for_the_one_asked_for(place: Place) -> None:
    place.user().start()
    other = place.user(free_port())
    with pytest.raises(BrokerError, match=rf"already runs on port {place.port}, not \d+\. Set \[KAFKA\] embedded_port"):
        other.start()
    assert not other.is_running()


def test_a_kafka_that_cannot_start_gives_its_reason_and_its_log(place: Place) -> None:
    broker = place.user()
    broker.start()
    broker.stop()
    (place.folder.data / "meta.properties").write_text("version=1\ncluster.id=another\nnode.id=7\n")
    with pytest.raises(
        BrokerError, match=r"ended by itself \(status 1\): .*node.*7.* Its log is .*broker\.log\.$"
    ) as raised:
        broker.start()
    assert "\n" not in str(raised.value)


def test_in_the_foreground_it_stays_without_users_until_it_is_told(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    process = place.process(FOREGROUND)
    line = line_of(process)
    assert line.startswith(f"Apache Kafka listens on 127.0.0.1:{place.port}. Ctrl-C stops it.")
    assert str(place.folder.log) in line
    java = place.java()
    user = place.user()
    user.start()
    user.stop()
    assert java.is_running()

    assert run_in_foreground(place.path, place.port) == 1
    assert f"already runs in {place.folder.path} on 127.0.0.1:{place.port}" in capsys.readouterr().err

    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    assert not java.is_running()
    assert place.is_deserted()


def test_in_the_foreground_a_second_ctrl_c_does_not_wait(place: Place) -> None:
    process = place.process(FOREGROUND)
    line_of(process)
    java = place.java()
    java.suspend()  # so that it cannot end in order
    process.send_signal(signal.SIGINT)
    eventually(lambda: place.status().state == "stopping")
    process.send_signal(signal.SIGINT)
    process.wait(15)
    assert not java.is_running()


def test_kafka_writes_its_log_to_a_file_only(kafka: Kafka) -> None:
    folder = BrokerFolder(kafka.data_dir)
    assert "INFO" in folder.log.read_text()
    assert "INFO" not in folder.output.read_text()


def test_kafkas_own_tools_can_be_run(kafka: Kafka) -> None:
    def run(tool: str, *arguments: str, said: str = "") -> str:
        command = java_command(
            f"org.apache.kafka.tools.{tool}", *arguments, "--bootstrap-server", kafka.bootstrap_servers
        )
        return subprocess.run(command, input=said, capture_output=True, text=True, check=True).stdout

    run("TopicCommand", "--create", "--topic", "tools", "--partitions", "1")
    run("ConsoleProducer", "--topic", "tools", said="one\ntwo\n")
    read = ("--topic", "tools", "--from-beginning", "--max-messages", "2")
    assert run("consumer.ConsoleConsumer", *read).splitlines() == ["one", "two"]


async def test_transactions_work(kafka: Kafka) -> None:
    await write(kafka.bootstrap_servers, "transactions", [])
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id="till") as producer,
        producer.transaction(),
    ):
        await producer.send_and_wait("transactions", b"sold")
    assert await read(kafka.bootstrap_servers, "transactions", "group", 1) == [b"sold"]
