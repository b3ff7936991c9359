"""What those who watch a worker are promised: it says whether it is of use, why not, and how it does."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from support.shop import Shop, Worker

from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.folder import BrokerFolder


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


METRICS_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
OF_PARTITIONS = {"yasdg_purchases_lag", "yasdg_till_delay_seconds", "yasdg_sales_due"}
GAUGES = OF_PARTITIONS | {"yasdg_partitions", "yasdg_lease_held", "yasdg_append_wait_seconds", "yasdg_listeners"}
COUNTERS = {  # as the parser names them; in the text they end in _total
    *("yasdg_sales", "yasdg_lost_sales", "yasdg_restocks", "yasdg_dead_letters", "yasdg_overtaken", "yasdg_rebalances"),
    *("yasdg_append_seconds", "yasdg_append_batches"),
    *("yasdg_listeners_dropped", "yasdg_gathers", "yasdg_gathers_incomplete"),
}


def ask(worker: Worker, path: str) -> tuple[int, str] | None:
    """Status and body of an answer; None if there is none. A worker may be unready, but never at a loss."""
    try:
        with urllib.request.urlopen(worker.web + path, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        assert error.code == 503, error.read()
        return error.code, error.read().decode()
    except OSError:
        return None


def readiness(worker: Worker) -> dict[str, Any] | None:
    """The body of /ready/, after a look that its status agrees with it."""
    answer = ask(worker, "/ready/")
    if answer is None:
        return None
    status, body = answer[0], json.loads(answer[1])
    assert status == (200 if body["ready"] else 503)
    assert body["ready"] == (not body["reasons"])
    assert all(reason.endswith(".") for reason in body["reasons"])
    return body


def until_ready(worker: Worker) -> dict[str, Any]:
    def ready() -> dict[str, Any] | None:
        body = readiness(worker)
        return body if body and body["ready"] else None

    body: dict[str, Any] = worker.until(ready, "that it is ready")
    return body


def until_unready(worker: Worker, words: str) -> dict[str, Any]:
    def unready() -> dict[str, Any] | None:
        body = readiness(worker)
        return body if body and words in " ".join(body["reasons"]) else None

    body: dict[str, Any] = worker.until(unready, f"the reason {words!r}")
    return body


def families(worker: Worker) -> dict[str, Metric]:
    answer = worker.until(lambda: ask(worker, "/metrics"), "an answer from /metrics")
    assert answer[0] == 200
    return {family.name: family for family in text_string_to_metric_families(answer[1])}


def value(worker: Worker, name: str) -> float:
    (sample,) = families(worker)[name].samples
    return float(sample.value)


def with_lag(worker: Worker) -> dict[str, Metric]:
    """The metrics of a moment in which the cluster told where the logs end."""

    def found() -> dict[str, Metric] | None:
        metrics = families(worker)
        return metrics if "yasdg_purchases_lag" in metrics else None

    metrics: dict[str, Metric] = worker.until(found, "a lag")
    return metrics


def by_partition(family: Metric) -> dict[int, float]:
    assert len({sample.labels["partition"] for sample in family.samples}) == len(family.samples)
    return {int(sample.labels["partition"]): sample.value for sample in family.samples}


def test_a_worker_becomes_ready_and_lives(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    body = until_ready(worker)
    assert body["partitions"] == list(range(8))
    assert 0 <= body["delay_seconds"] <= 5
    assert ask(worker, "/health/") == (200, '{"status":"live"}')
    assert worker.stop() == 0


def test_metrics_have_names_units_and_help_and_tell_of_owned_partitions(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    until_ready(worker)
    found = with_lag(worker)
    ours = {name: family for name, family in found.items() if name.startswith("yasdg_")}
    assert {name for name, family in ours.items() if family.type == "gauge"} == GAUGES
    assert {name for name, family in ours.items() if family.type == "counter"} == COUNTERS
    page = METRICS_PAGE.read_text()
    for name, family in ours.items():
        assert family.documentation.endswith("."), name
        assert family.documentation in page, name
        assert {sample.name for sample in family.samples} == {name + ("_total" if name in COUNTERS else "")}
        assert all(sample.value >= 0 for sample in family.samples), name
    for name in OF_PARTITIONS:
        assert by_partition(found[name]).keys() == set(range(8))
    assert value(worker, "yasdg_partitions") == 8
    worker.until(lambda: value(worker, "yasdg_lease_held") == 1, "a lease")
    assert value(worker, "yasdg_rebalances") >= 1
    worker.until(lambda: value(worker, "faust_messages_received") > 0, "a chunk of purchases")
    assert {"process_cpu_seconds", "process_resident_memory_bytes"} <= found.keys() or sys.platform != "linux"
    assert worker.stop() == 0
    assert "Traceback" not in worker.said
    assert "[ERROR]" not in worker.said
    assert "[WARNING]" not in worker.said


def test_counters_agree_with_the_topics(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    until_ready(worker)
    worker.until(lambda: len(shop.read(shop.topic("stockings"))) > 20, "restocks")
    for name, topic in (("yasdg_sales", "purchases"), ("yasdg_restocks", "stockings")):
        # What is in the log is counted soon, and what is counted is in the log.
        stood = len(shop.read(shop.topic(topic)))
        worker.until(lambda name=name, stood=stood: value(worker, name) >= stood, f"{stood} in {name}")
        counted = value(worker, name)
        assert counted <= len(shop.read(shop.topic(topic)))

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=shop.servers) as producer:
            for number in range(3):
                await producer.send_and_wait(shop.topic("purchases"), b"no JSON", b"anything", partition=number)

    assert value(worker, "yasdg_dead_letters") == 0
    asyncio.run(send())
    worker.until(lambda: value(worker, "yasdg_dead_letters") == 3, "three dead letters")
    assert len(shop.read(shop.topic("dead_letters"))) == 3
    assert value(worker, "yasdg_overtaken") == 0
    batches = value(worker, "yasdg_append_batches")
    # At most: each sale on its own, each in a chunk of its own that writes the table; restocks and letters one by one.
    assert 0 < batches <= 2 * value(worker, "yasdg_sales") + value(worker, "yasdg_restocks") + 3
    assert value(worker, "yasdg_append_seconds") > 0
    assert worker.stop() == 0


def test_without_a_broker_a_worker_lives_and_is_not_ready(shop: Shop, tmp_path: Path) -> None:
    shop.embedded()
    port = int(shop.servers.partition(":")[2])
    broker = EmbeddedBroker(tmp_path / "away", port)
    broker.start()
    try:
        worker = shop.on(shop.servers).worker()
        until_ready(worker)
        broker.stop()
        until_unready(worker, "The broker does not answer")
        assert ask(worker, "/health/") == (200, '{"status":"live"}')
        before = by_partition(families(worker)["yasdg_till_delay_seconds"])
        assert before

        def grown() -> bool:
            delays = by_partition(families(worker)["yasdg_till_delay_seconds"])
            return all(delays[partition] > before[partition] + 1 for partition in before)

        worker.until(grown, "growing delays")
        body = until_unready(worker, "s behind in partitions 0, 1")
        assert body["delay_seconds"] > 5
        found = families(worker)
        assert "yasdg_purchases_lag" not in found
        assert found["yasdg_lease_held"].samples[0].value == 0
        assert all(due > 0 for due in by_partition(found["yasdg_sales_due"]).values())
        broker.start()
        until_ready(worker)
        with_lag(worker)
        assert worker.stop() == 0, worker.said
        assert "Traceback" not in worker.said
    finally:
        broker.stop()


def test_a_broker_that_hangs_is_waited_for_in_bounded_memory(shop: Shop, tmp_path: Path) -> None:
    port = int(shop.embedded().servers.partition(":")[2])
    broker = EmbeddedBroker(tmp_path / "slow", port)
    broker.start()
    status = BrokerFolder(tmp_path / "slow").read_status()
    assert status is not None
    assert status.java_pid is not None
    try:
        worker = shop.on(shop.servers).configure(SALES_MAX_SALE_FREQ="0.00004").worker()  # 50,000 sales a second
        worker.until(lambda: value(worker, "yasdg_sales") > 100_000, "sales")
        memory = value(worker, "process_resident_memory_bytes")
        os.kill(status.java_pid, signal.SIGSTOP)
        try:
            worker.until(lambda: value(worker, "yasdg_append_wait_seconds") > 2, "an append that waits")
            delays = lambda: by_partition(families(worker)["yasdg_till_delay_seconds"]).values()  # noqa: E731
            worker.until(lambda: max(delays(), default=0) > 15, "sales that are 15 s late")
            sold = value(worker, "yasdg_sales")
        finally:
            os.kill(status.java_pid, signal.SIGCONT)
        worker.until(lambda: value(worker, "yasdg_sales") > sold + 200_000, "sales that are made up for")
        # All that was due in that time, as messages, would take some 200 MB.
        assert value(worker, "process_resident_memory_bytes") < memory + 100_000_000
        assert worker.stop() == 0, worker.said
    finally:
        broker.stop()


def test_a_worker_without_partitions_says_so_until_it_takes_over(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(KAFKA_PARTITIONS="1")
    workers = [shop.worker(), shop.worker()]

    def told_apart() -> list[Worker] | None:
        """The worker that says that it has no partitions, and the one that has all."""
        bodies = [readiness(worker) or {} for worker in workers]
        idle = ["The worker has no partitions" in " ".join(body.get("reasons", [])) for body in bodies]
        return sorted(workers, key=lambda worker: worker is workers[idle.index(False)]) if sum(idle) == 1 else None

    idle, busy = workers[0].until(told_apart, "one worker with the partition, and one without")
    until_ready(busy)
    body = until_unready(idle, "The worker has no partitions")
    assert len(body["reasons"]) == 1
    assert body["delay_seconds"] is None
    assert ask(idle, "/health/") == (200, '{"status":"live"}')
    found = families(idle)
    assert found["yasdg_partitions"].samples[0].value == 0
    assert not any(found[name].samples for name in OF_PARTITIONS & found.keys())
    busy.kill()
    assert until_ready(idle)["partitions"] == [0]
    assert by_partition(families(idle)["yasdg_till_delay_seconds"]).keys() == {0}
    assert idle.stop() == 0


def test_before_it_has_started_it_is_not_ready_and_has_metrics(shop: Shop) -> None:
    code = (
        "import asyncio, json\n"
        "from yasdg_app.app import load\n"
        "from yasdg_app.web.pages import Pages\n"
        "pages = Pages(*load())\n"
        "ends = asyncio.run(pages.health.log_ends())\n"
        "print(json.dumps([pages.health.readiness(ends), pages.metrics.exposition(ends).decode()]))\n"
    )
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, cwd=shop.folder, env=shop.environment, capture_output=True, text=True, check=True)
    body, text = json.loads(output.stdout)
    assert body == {
        "ready": False,
        "reasons": [
            "The broker does not answer: it did not return the ends of the logs within 1 s.",
            "The worker is joining the group, or restoring its table.",
        ],
        "partitions": [],
        "delay_seconds": None,
    }
    assert "yasdg_partitions 0.0" in text
    assert "yasdg_till_delay_seconds{" not in text
