"""Whatever somebody else writes to the control topic: workers sell on, restart, and none of it counts."""

import asyncio
import json
import time
from typing import Any

from aiokafka import AIOKafkaProducer
from support.kafka_fixtures import Kafka
from support.shop import Shop, Worker, yasdg

from yasdg_app.messages.times import time_text

MINUTE = 60_000_000  # microseconds


def incident(name: str, at: int, **fields: Any) -> tuple[bytes, bytes]:
    value = {"name": name, "kind": "custom", "start": time_text(at), "end": time_text(at + 10 * MINUTE), "ramp_up": 0,
             "ramp_down": 0, "categories": [], "products": [], "factor": 1.0, "discount": 0}  # fmt: skip
    return f"incident/{name}".encode(), json.dumps(value | fields).encode()


def hostile(at: int) -> list[tuple[bytes | None, bytes | None]]:
    gap = {"after": time_text(at - MINUTE), "until": time_text(at + 366 * 1440 * MINUTE)}
    nested = b"[" * 100_000 + b"]" * 100_000
    return [
        incident("huge", at, factor=1e300),
        incident("negative", at, factor=-1.0),
        incident("gift", at, discount=1_000_000),
        incident("ramp", at, ramp_up=-MINUTE),
        incident("zone", at, start=time_text(at)[:19] + "+02:00"),
        incident("many", at, products=[f"P{number}" for number in range(50_000)]),
        (f"gap/{gap['after']}/{gap['until']}".encode(), json.dumps(gap).encode()),
        (b"incident/deep", b'{"more": ' + nested + b"}"),
        (b"end/deep", nested),
        (b"incident/none", None),
        (b"\xff", b"\xff\xfe"),
        (b"here", b"x" * 500_000),
        incident("valid", at, factor=0.9),
    ]


async def write(servers: str, topic: str, records: list[tuple[bytes | None, bytes | None]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        for key, value in records:
            await producer.send_and_wait(topic, value, key, partition=0)


def sells(worker: Worker) -> None:
    before = worker.get("/inventory/")["inventory"]
    worker.until(lambda: worker.get("/inventory/")["inventory"] != before, "a sale")


def test_a_shop_sells_on_whatever_is_written_to_its_control_topic(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    sells(worker)
    at = (time.time_ns() // 1000 // MINUTE + 1) * MINUTE
    if at - time.time_ns() // 1000 < 20_000_000:  # in time
        at += MINUTE
    asyncio.run(write(shop.servers, f"{shop.name}-control", hostile(at)))
    sells(worker)
    worker.until(lambda: time.time_ns() // 1000 > at + 2_000_000, "the minute for which they were set", 120)
    sells(worker)
    assert worker.get("/incidents/")["incidents"] == []  # well formed or not: another producer wrote it
    worker.until(lambda: worker.get("/ready/")["ready"], "readiness")
    assert worker.stop() == 0, worker.said
    again = shop.worker()
    sells(again)
    assert again.stop() == 0, again.said
    assert "[ERROR]" not in worker.said + again.said
    audit = yasdg(shop, "audit")
    assert "Traceback" not in audit.stdout + audit.stderr
    assert audit.returncode == 0, audit.stdout + audit.stderr
