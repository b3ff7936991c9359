"""A real Apache Kafka for tests, shared by all test processes, and shops on it."""

import asyncio
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import schema_registry
from support.shop import Shop, delete_topics
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.kafka.embedded.node import free_port


@dataclass(frozen=True)
class Kafka:
    """A running broker. It creates no topic automatically. Other tests use it at the same time: use unique names."""

    bootstrap_servers: str
    data_dir: Path
    port: int


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Yield the broker that the processes of a test session share: it runs until the last of them ends."""
    data_dir = session_folder(tmp_path_factory) / "kafka"
    data_dir.mkdir(exist_ok=True)
    port = same_port_for_all(data_dir)
    broker = EmbeddedBroker(data_dir, port)
    yield Kafka(broker.start(), data_dir, port)
    broker.stop()


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the processes of a test session share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def same_port_for_all(folder: Path) -> int:
    file, lock = folder / "port", FileLock(folder / "port.lock")
    lock.acquire()
    try:
        if not file.exists():
            file.write_text(str(free_port()))
        return int(file.read_text())
    finally:
        lock.release()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a schema registry that keeps what other tests registered: use separate topics."""
    with schema_registry.running(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shop]:
    # Long names differ at their ends, and parameters are in brackets.
    words, mark = re.sub(r"[^a-zA-Z0-9_]+", "-", request.node.name)[5:35], zlib.crc32(request.node.nodeid.encode())
    shop = Shop(tmp_path, f"{words}-{mark:08x}")
    yield shop
    shop.close()
    if "kafka" in request.fixturenames:  # with the topics of hundreds of tests, it would answer all of them slowly
        asyncio.run(delete_topics(request.getfixturevalue("kafka").bootstrap_servers, shop.name))
