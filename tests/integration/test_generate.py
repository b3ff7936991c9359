"""`yasdg generate` writes what real workers append, byte for byte."""

import json
from pathlib import Path
from typing import Protocol

import pytest
from oracles.simulation import opening_of
from support.shop import Shop, yasdg

from yasdg_app.messages.times import time_text

WEEK = Path(__file__).parents[2] / "config" / "scenarios" / "week.ini"


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def place(value: bytes) -> tuple[str, str]:
    """The place of a message in the stream's order: time, and the product that was asked for."""
    told = json.loads(value)
    at = told.get("transaction_time") or told["event_time"]
    return at, told.get("substituted_from") or told.get("product_id") or f"{told['phase']} {told['incident']}"


@pytest.mark.parametrize("start", ["2026-06-02", "2h"])
def test_it_is_what_two_workers_append(kafka: Kafka, shop: Shop, start: str) -> None:
    shop.on(kafka.bootstrap_servers).configure(KAFKA_PARTITIONS="4", CLOCK_START=start)
    told = ["purchases", "stockings", "products"]
    if start == "2h":
        shop.configure(SALES_MAX_SALE_FREQ="1", CLOCK_END="1h")
    else:
        shop.configured_by(WEEK).configure(CLOCK_END="36h", CLOCK_SPEED="max")
        told += ["lost_sales", "incidents"]
    workers = [shop.worker() for _ in range(2)]
    for worker in workers:
        assert worker.ends(300) == 0, worker.said
    opened_at = time_text(opening_of(shop).opened_at)
    shop.on("nowhere.invalid:1")
    for what in told:
        arguments = ("--opened-at", opened_at) if start == "2h" else ()
        generated = yasdg(shop, "generate", "--to", f"{what}.jsonl", "--what", what, *arguments)
        assert generated.returncode == 0, generated.stderr
    shop.on(kafka.bootstrap_servers)
    for what in told:
        logged = [record.value or b"" for record in shop.read(shop.topic(what))]
        wanted = logged if what == "products" else sorted(logged, key=place)
        assert wanted
        assert (shop.folder / f"{what}.jsonl").read_bytes() == b"".join(value + b"\n" for value in wanted), what


def test_it_is_what_a_flawed_network_delivers_of_two_workers_sales(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configured_by(WEEK).configure(KAFKA_PARTITIONS="3", CLOCK_END="20h")
    shop.configure(CLOCK_SPEED="max", FAULTS_LATE_BY="1m - 6h")
    for kind in ("LATE", "DUPLICATE", "DROPPED", "OUT_OF_ORDER", "CORRUPT"):
        shop.configure(**{f"FAULTS_{kind}": "0.05"})
    for worker in [shop.worker() for _ in range(2)]:
        assert worker.ends(300) == 0, worker.said
    for what in ("dirty", "faults"):
        generated = yasdg(shop.on("nowhere.invalid:1"), "generate", "--to", f"{what}.jsonl", "--what", what)
        assert generated.returncode == 0, generated.stderr
        lines = (shop.folder / f"{what}.jsonl").read_bytes().split(b"\n")[:-1]
        logs = shop.on(kafka.bootstrap_servers).partitions(shop.topic(what))
        partitions = {partition: [record.value or b"" for record in log] for partition, log in logs.items()}
        assert len(partitions) == 3
        # They are merged, each in its order: the next line is always the next record of one of them.
        open_at = {(0,) * 3}
        for line in lines:
            open_at = {
                tuple(at + (place == partition) for place, at in enumerate(here))
                for here in open_at
                for partition, values in partitions.items()
                if here[partition] < len(values) and values[here[partition]] == line
            }
            assert open_at, line
        assert open_at == {tuple(len(partitions[partition]) for partition in range(3))}
