"""A thousand sockets of strangers stop no shop: it sells on, and says that it lives."""

import json
import resource
import socket
import threading
import time
import urllib.request

import psutil
import pytest
from support.shop import Shop, Worker
from support.slow_clients import BODY, HEAD, Crowd

SIZE = 1_500  # connections of strangers
DESCRIPTORS = 1_024  # of the worker
HELD_SECONDS = 20
HEALTH_SECONDS = 5.0
LOG_BYTES = 1_000_000


def address_of(worker: Worker) -> tuple[str, int]:
    host, _, port = worker.web.removeprefix("http://").partition(":")
    return host, int(port)


def sales_of(worker: Worker) -> int:
    with urllib.request.urlopen(f"{worker.web}/metrics", timeout=HEALTH_SECONDS) as response:
        text = response.read().decode()
    return next(int(float(line.split()[1])) for line in text.splitlines() if line.startswith("yasdg_sales_total"))


def is_live(worker: Worker) -> bool:
    with urllib.request.urlopen(f"{worker.web}/health/", timeout=HEALTH_SECONDS) as response:
        return bool(json.load(response)["status"] == "live")


class Listener(threading.Thread):
    """Listens to /events/, and counts what it hears."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.heard, self.ended = 0, False
        self._stream = urllib.request.urlopen(f"{worker.web}/events/", timeout=60)

    def run(self) -> None:
        for line in self._stream:
            self.heard += line.startswith(b"event: snapshot")
        self.ended = True


def test_fifteen_hundred_connections_of_strangers_leave_the_shop_open(shop: Shop) -> None:
    worker = shop.embedded().worker("few_descriptors.py", str(DESCRIPTORS))
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    process = psutil.Process(worker.process.pid)
    listeners = [Listener(worker) for _ in range(20)]
    for listener in listeners:
        listener.start()
    before = process.num_fds()
    with Crowd(address_of(worker), SIZE) as crowd:
        worker.until(lambda: crowd.opened >= SIZE, f"{SIZE} connections")
        sold, end = sales_of(worker), time.monotonic() + HELD_SECONDS
        heard = [listener.heard for listener in listeners]
        while time.monotonic() < end:
            assert is_live(worker)
            time.sleep(0.5)
        assert sales_of(worker) > sold
        assert not any(listener.ended for listener in listeners)
        assert all(listener.heard > was for listener, was in zip(listeners, heard, strict=True))
    worker.until(lambda: process.num_fds() < before + 20, "that all are gone")
    worker.until(lambda: worker.get("/ready/"), "that it is ready")
    sold = sales_of(worker)
    worker.until(lambda: sales_of(worker) > sold, "further sales")
    assert worker.stop() == 0
    for listener in listeners:
        listener.join(60)
    assert len(worker.said) < LOG_BYTES
    for word in ("Traceback", "is gone", "[ERROR]"):
        assert word not in worker.said


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="elsewhere nobody sets another process's limit")
def test_a_worker_without_a_free_descriptor_thinks_no_broker_gone_and_floods_no_log(shop: Shop) -> None:
    worker = shop.embedded().worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    sold, said = sales_of(worker), len(worker.said)
    limits = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (0, limits[1]))
    waiting = [socket.create_connection(address_of(worker), timeout=60) for _ in range(20)]  # as far as the kernel
    time.sleep(6)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, limits)
    for connection in waiting:
        connection.close()
    worker.until(lambda: is_live(worker), "that it lives")
    worker.until(lambda: sales_of(worker) > sold + 500, "sales")
    worker.until(lambda: worker.get("/ready/"), "that it is ready")
    told = worker.said[said:]
    for word in ("Traceback", "is gone", "[ERROR]"):
        assert word not in told
    assert told.count("No file descriptor is left") == 1
    assert worker.stop() == 0


@pytest.mark.parametrize("begin", [b"", HEAD, BODY], ids=["nothing", "headers", "body"])
def test_whoever_is_slow_is_closed_in_time(kafka: object, shop: Shop, begin: bytes) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()  # type: ignore[attr-defined]
    worker.until(lambda: worker.get("/health/"), "an answer")
    with socket.create_connection(address_of(worker), timeout=1.0) as connection:
        connection.sendall(begin)

        def closed() -> bool:
            try:
                if begin:
                    connection.sendall(b"x")
                return connection.recv(65536) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        worker.until(closed, "that it is closed", 60)
    assert worker.stop() == 0
    assert "Traceback" not in worker.said
