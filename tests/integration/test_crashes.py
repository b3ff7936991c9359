"""A worker that crashes says why, once, and is gone; so is one that cannot begin."""

import os
import signal
import socket
import time

import pytest
from support.kafka_fixtures import Kafka
from support.shop import Shop, Worker, yasdg

from yasdg_app.process.exits import EXIT_AFTER_CRASH_SECONDS

PLACES = ("agent", "timer", "task", "start", "recover")


def crashed(shop: Shop, *program: str) -> tuple[list[str], float]:
    """What it said that is no report of an ordinary worker, and for how many seconds it was there after the first."""
    worker = shop.worker("fails_at.py", *program)
    worker.until(lambda: worker.process.poll() is not None or complaints(worker), "a crash")
    began = time.monotonic()
    assert worker.ends() == 1
    return complaints(worker), time.monotonic() - began


def complaints(worker: Worker) -> list[str]:
    ordinary = ("[INFO]", "| ", "+-", "OK ^")
    return [line for line in worker.said.splitlines() if line.strip() and not any(word in line for word in ordinary)]


@pytest.mark.parametrize("where", PLACES)
def test_a_full_disk_is_one_line_and_the_end_within_seconds(kafka: Kafka, shop: Shop, where: str) -> None:
    (line,), seconds = crashed(shop.on(kafka.bootstrap_servers), where, "disk")
    assert "The worker ends: No space left on device: /data/purchases" in line
    assert seconds < EXIT_AFTER_CRASH_SECONDS + 20  # of a machine that is busy; an end in order would take 120


@pytest.mark.parametrize("what", ["told", "kafka"])
def test_so_is_every_error_that_explains_itself(kafka: Kafka, shop: Shop, what: str) -> None:
    expected = {"told": "The shop cannot be had.; It is closed.", "kafka": "Apache Kafka: "}[what]
    (line,), _ = crashed(shop.on(kafka.bootstrap_servers), "timer", what)
    assert f"The worker ends: {expected}" in line


@pytest.mark.parametrize("where", PLACES)
def test_a_bug_has_one_traceback(kafka: Kafka, shop: Shop, where: str) -> None:
    lines, _ = crashed(shop.on(kafka.bootstrap_servers), where, "bug")
    said = "\n".join(lines)
    assert said.count("Traceback (most recent call last)") == 1
    assert said.count("ZeroDivisionError: division by zero") == 1


def test_neither_signal_opens_a_debugger_or_ends_the_worker(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
        os.kill(worker.process.pid, number)
        time.sleep(0.5)
        before = worker.get("/inventory/")["inventory"]
        worker.until(lambda before=before: worker.get("/inventory/")["inventory"] != before, "another sale")
    assert "debugger" not in worker.said
    assert worker.stop() == 0


def test_a_port_that_is_taken_is_one_line_that_names_who_has_it(shop: Shop) -> None:
    """Before anything else begins: there is no cluster at that address."""
    shop.on("127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = yasdg(shop, "worker", "--web-port", str(port))
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if "yasdg: " in line]
    assert f"Port {port} of 127.0.0.1 is taken by process {os.getpid()} (" in line
    assert "yasdg worker --web-port PORT" in line
    assert "Traceback" not in ended.stderr + ended.stdout


def test_the_advice_for_a_port_that_is_taken_can_be_followed(kafka: Kafka, shop: Shop) -> None:
    first = shop.on(kafka.bootstrap_servers).worker()
    first.until(lambda: first.get("/health/"), "the port")
    port = first.web.rpartition(":")[2]
    ended = yasdg(shop, "worker", "--web-port", port)
    assert ended.returncode == 1
    assert f"is taken by process {first.process.pid} (a worker of yasdg)" in ended.stderr
    second = shop.worker()  # on a port of its own
    second.until(lambda: second.get("/health/"), "an answer")
    assert first.stop() == second.stop() == 0


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_this_machines_is_one_line(shop: Shop, address: str) -> None:
    shop.on("127.0.0.1:1").configure(WEB_HOST=address, WEB_TOKEN="a-token-of-sixteen")
    ended = yasdg(shop, "worker")
    assert ended.returncode == 1
    assert f"The web server cannot listen on port 6066 of {address}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_command_without_a_cluster_ends_with_one_line(shop: Shop) -> None:
    ended = yasdg(shop.on("127.0.0.1:1"), "incident", "list")
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("yasdg: Apache Kafka at 127.0.0.1:1: ")


def test_a_name_that_aiokafka_has_no_more_ends_the_worker_instead_of_leaving_it_without_sales(
    kafka: Kafka, shop: Shop
) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker("renamed_attribute.py")
    assert worker.ends() == 1
    assert "AttributeError: 'Renamed' object has no attribute '_rejoin_needed_fut'" in worker.said
