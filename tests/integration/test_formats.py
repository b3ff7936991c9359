"""In every format the shop is the same, whoever dies, and whoever reads its topics gets all of it."""

import asyncio
import json
import signal
from collections.abc import Mapping
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from oracles import golden
from oracles.faulty_channel import flawed, rows
from oracles.meaning import meaning
from oracles.simulation import opening_of, plan_of
from support import readers
from support.shop import Shop, consume, yasdg

from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.config import ini
from yasdg_app.config.settings import FormatSettings
from yasdg_app.kafka.embedded.node import free_port
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.messages.formats import json_format, schemas
from yasdg_app.shop.faults import Faults
from yasdg_app.truth.offline_stream import FOREVER, stream

SALES = 6_000
NO_PURCHASE, NO_LOST_SALE = b"\0\0\0\0\1 no purchase", golden.purchases()[0]


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def send(shop: Shop, topic: str, partition: int, value: bytes) -> None:
    async def send_it() -> None:
        async with AIOKafkaProducer(bootstrap_servers=shop.servers) as producer:
            await producer.send_and_wait(shop.topic(topic), value, b"anything", partition=partition)

    asyncio.run(send_it())


def order(message: Mapping[str, Any]) -> str:
    return json.dumps(message, sort_keys=True, default=str)


# One process of the tests has the registry.
on_registry = pytest.mark.xdist_group("registry")


@pytest.mark.parametrize(
    "name", ["epoch_ms", "epoch_us", *(pytest.param(name, marks=on_registry) for name in readers.REGISTERED)]
)
def test_whoever_dies_the_topics_hold_what_yasdg_generate_writes(
    kafka: Kafka, shop: Shop, request: pytest.FixtureRequest, name: str
) -> None:
    shop.on(kafka.bootstrap_servers).configured_by(golden.SHOP)
    shop.configure(KAFKA_PARTITIONS="2", SALES_NUMBER_OF_SALES=str(SALES))
    if name in readers.TIMES:
        shop.configure(FORMAT_TIME=name)
    else:
        shop.configure(FORMAT_VALUE=name, FORMAT_REGISTRY=request.getfixturevalue("registry"))
    topic, moment = ("stockings", "after") if name in ("epoch_ms", "avro") else ("lost_sales", "before")
    dying = shop.worker("dies_at_append.py", shop.topic(topic), moment, "5")
    assert dying.ends() == -signal.SIGKILL, dying.said
    send(shop, "purchases", 1, NO_PURCHASE)
    send(shop, "lost_sales", 1, NO_LOST_SALE)
    workers = [shop.worker(), shop.worker()]
    for worker in workers:
        assert worker.ends(300) == 0, worker.said

    balances(shop, SALES, letters=2)
    letters = {message.value: dict(message.headers) for message in shop.read(shop.topic("dead_letters"))}
    assert letters.keys() == {NO_PURCHASE, NO_LOST_SALE}  # as they came
    assert letters[NO_LOST_SALE]["reason"] == b"written by another producer"

    for what, generated in whole_stream(shop).items():
        assert generated, what
        if (name, what) == ("avro", "products"):
            told = consume(shop, len(generated), what, "--from-beginning", "--json")
            assert [*map(json.loads, told)] == [*map(json.loads, generated)]
        values = [value for m in shop.read(shop.topic(what)) if (value := m.value or b"") not in letters]
        if name in readers.TIMES:
            form = json_format(FormatSettings(time=name))
            assert sorted(values) == sorted(form.write(what, line) for line in generated), what
            continue
        client = SchemaRegistryClient({"url": shop.environment["YASDG_FORMAT_REGISTRY"]})
        read = readers.deserialiser(name, what, shop.topic(what), client)
        wanted = [meaning(what, line, name) for line in generated]
        assert sorted(map(read, values), key=order) == sorted(wanted, key=order), what


def balances(shop: Shop, sales: int, letters: int = 0) -> None:
    audited = yasdg(shop, "audit", "--json")
    report = json.loads(audited.stdout or "null")
    assert report, audited.stderr
    assert report["findings"] == []
    assert (report["purchases"], report["dead_letters"]) == (sales, letters)


def whole_stream(shop: Shop) -> dict[str, list[bytes]]:
    """What `yasdg generate` writes of a shop, in the default format."""
    of, plan = ini.load(shop.environment, shop.folder), plan_of(shop)
    parts = {what: stream(what, plan, FOREVER, number_of_sales=of.sales.number_of_sales) for what in schemas.KINDS}
    return {what: b"".join(part.text for part in some).splitlines() for what, some in parts.items()}


def test_a_flawed_network_has_the_times_of_the_format_too(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(
        CLOCK_START="2026-06-01", CLOCK_END="10m", SALES_MAX_SALE_FREQ="0.2", KAFKA_PARTITIONS="2", FORMAT_TIME="iso-z",
        **{f"FAULTS_{kind.upper()}": ".05" for kind in ("late", "duplicate", "dropped", "out_of_order", "corrupt")},
    )  # fmt: skip
    for topic, moment in (("dirty", "after"), ("faults", "before")):
        dying = shop.worker("dies_at_append.py", shop.topic(topic), moment, "2")
        assert dying.ends() == -signal.SIGKILL, dying.said
    assert (worker := shop.worker()).ends(300) == 0, worker.said

    form, of = json_format(FormatSettings(time="iso-z")), ini.load(shop.environment, shop.folder)
    faults = Faults.of(of.faults, of.sales.seed)
    count = 0
    for partition, sales in shop.partitions(shop.topic("purchases")).items():
        closes_at = last_moment(of, opening_of(shop).opened_at)
        dirty, told = flawed(faults, asyncio.run(form.plain("purchases", sales)), (closes_at or 0) - 1)
        # The bytes of the format are what is damaged.
        wire = {json.loads(sale.value or b"")["transaction_id"]: sale.value or b"" for sale in sales}
        wanted = [damaged(faults, row, wire) or row._replace(value=form.write("purchases", row.value)) for row in dirty]
        assert rows(shop.partitions(shop.topic("dirty"))[partition]) == wanted
        wanted = [row._replace(value=form.write("faults", row.value)) for row in told]
        assert rows(shop.partitions(shop.topic("faults"))[partition]) == wanted
        count += len(sales)
    assert count > 4_000
    balances(shop, count)


def damaged(faults: Faults, row: ProducerRecord, wire: Mapping[str, bytes]) -> ProducerRecord | None:
    """A row that is corrupt as it has to be; None if it is not. `wire`: the sales by their ids."""
    headers = dict(row.headers)
    if headers.get("yasdg-fault") != b"corrupt":
        return None
    product_id, _, number = headers["yasdg-fault-id"].decode().rpartition("-F")
    key = int(faults.keys([product_id])[0])
    return row._replace(value=faults.damaged(key, int(number), wire[f"{product_id}-{number}"]))


# --- What goes wrong ---


def test_a_shop_keeps_the_format_that_it_was_opened_with(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="20")
    assert shop.worker().ends() == 0
    other = shop.configure(FORMAT_TIME="epoch_us").worker()
    assert other.ends() == 1
    assert "with another configuration: FORMAT.time was sql, is epoch_us. " in other.said
    for command in ("audit", "truth"):
        refused = yasdg(shop, command)
        assert refused.returncode > 0
        assert "FORMAT.time was sql, is epoch_us" in refused.stderr


def test_a_registry_that_is_away_ends_the_worker_with_a_line(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(
        FORMAT_VALUE="avro", FORMAT_REGISTRY=f"http://user:secret@127.0.0.1:{free_port()}"
    )
    worker = shop.worker()
    assert worker.ends() == 1
    assert "yasdg: The schema registry http://127.0.0.1:" in worker.said
    assert " does not answer: " in worker.said
    assert "secret" not in worker.said
    assert "Traceback" not in worker.said
    # It has opened nothing: the shop may be one of JSON.
    worker = shop.configure(FORMAT_VALUE="json", FORMAT_REGISTRY="", SALES_NUMBER_OF_SALES="20").worker()
    assert worker.ends() == 0, worker.said


@on_registry
def test_a_schema_that_the_registry_does_not_take_ends_the_worker_with_a_line(
    kafka: Kafka, shop: Shop, registry: str
) -> None:
    shop.on(kafka.bootstrap_servers).configure(FORMAT_VALUE="avro", FORMAT_REGISTRY=registry)
    subject, client = f"{shop.topic('purchases')}-value", SchemaRegistryClient({"url": registry})
    other = {
        "type": "record",
        "name": "Purchase",
        "namespace": "yasdg",
        "fields": [{"name": "price", "type": "double"}],
    }
    client.register_schema(subject, Schema(json.dumps(other), "AVRO"))
    client.set_compatibility(subject, "BACKWARD")  # which is Confluent's default, and not Apicurio's
    worker = shop.worker()
    assert worker.ends() == 1
    assert f" refuses the schema of {subject}, which is not compatible with the one that it has: " in worker.said
    assert "Traceback" not in worker.said
