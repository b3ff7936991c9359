"""Sales directly from the product's own classes, without Faust: till, encoder, producer."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from yasdg_app.config import catalog, ini
from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SalesSettings, Settings
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.producer import ProducerRecord, ShopProducer
from yasdg_app.messages.bulk_encoder import BulkEncoder
from yasdg_app.messages.encoders import PurchaseEncoder
from yasdg_app.messages.ids import default_partition
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sales import Sales
from yasdg_app.shop.till import Till

PARTITIONS = 8


def configured(environment: dict[str, str]) -> tuple[Settings, tuple[Product, ...]]:
    """Return the settings and the catalog that YASDG_ variables describe; everything else has its default."""
    given = ini.load(environment, Path.cwd())
    return given, catalog.load(given.sales.products)


def encoded(products: Sequence[Product], settings: SalesSettings, sales: Sales) -> Iterator[ProducerRecord]:
    """Return the records of a till's sales."""
    return (ProducerRecord(*row) for row in PurchaseEncoder(products, settings).encode(sales))


async def ours(servers: str, producer_id: int, topic: str, plan: Plan, until: int) -> int:
    """Produce all sales up to an event time and append them, all partitions at once; return their number."""
    producer = ShopProducer(Connection(servers), producer_id)

    async def serve(partition: int) -> int:
        own = [product for product in plan.products if default_partition(product.product_id, PARTITIONS) == partition]
        till, number = Till(plan, own), 0
        encoder = BulkEncoder(till.products, plan.sales)
        while till.watermark < until:
            sales = till.generate_until(until).sales
            batches = producer.batches_of_records(number, encoder.records(sales))
            appended = await producer.append_batches(topic, partition, batches)
            assert appended.complete
            number += len(sales)
        return number

    try:
        return sum(await asyncio.gather(*(serve(partition) for partition in range(PARTITIONS))))
    finally:
        await producer.stop()


def first(count: int, plan: Plan) -> list[tuple[int, ProducerRecord]]:
    """Return the first sales of a shop, each with its partition, in order of time."""
    till, rows = Till(plan, plan.products), []
    while len(rows) < count:
        sales = till.generate_until(time.time_ns() // 1000).sales
        for row in encoded(till.products, plan.sales, sales):
            rows.append((default_partition(row.key.decode(), PARTITIONS), row))
    return rows[:count]
