"""Cost of each [FORMAT]: processor time and bytes per purchase, without a cluster.

    make bench-formats
    make bench-formats ARGS="--sales 50000 --rounds 3"

Written: a block of sales becomes finished, compressed record batches, as the sales generator appends them. Read: the
messages of such batches become rows of the table. No registry is contacted during the measurement: schemas
are registered once, in Confluent's mock registry.
"""

import argparse
import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka.record.memory_records import MemoryRecords
from faust.types import TP
from machine import machine
from stage import interleaved
from table import compared, table

from yasdg_app.config import catalog
from yasdg_app.config.settings import FormatSettings, KafkaSettings, SalesSettings, Settings
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import InventoryProjection
from yasdg_app.kafka.batch_writer import batch
from yasdg_app.messages.bulk_encoder import BulkEncoder
from yasdg_app.messages.formats import Format, format_of
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sales import Sales
from yasdg_app.shop.till import Till

PRODUCTS = Path(__file__).parents[1] / "products.csv"
OPENED = 1_709_285_025_123_456
DEFAULT = "json, sql"
FORMATS = {
    DEFAULT: FormatSettings(),
    **{f"json, {time}": FormatSettings(time=time) for time in ("iso-z", "epoch_ms", "epoch_us")},
    **{value: FormatSettings(value, f"mock://{value}") for value in ("avro", "protobuf")},
}
CHUNK = 10_000  # max messages that the agent gets at once
EVERYTHING = TP("purchases", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(machine(), flush=True)
    products = catalog.load(PRODUCTS)
    plan = Plan.of(Settings(sales=SalesSettings(min_sale_freq=0, max_sale_freq=0.0001)), products, OPENED)
    till, blocks = Till(plan, products), list[Sales]()
    while sum(map(len, blocks)) < arguments.sales:
        blocks.append(till.generate_until(till.watermark + 1_000_000).sales)
    forms = {name: asyncio.run(opened(settings)) for name, settings in FORMATS.items()}
    batches: dict[str, list[bytes]] = {}
    messages: dict[str, list[Any]] = {}

    def written(name: str) -> float:
        encoder, began = BulkEncoder(till.products, plan.sales, forms[name]), time.process_time()
        batches[name] = [batch(some, 0, 7, 0) for block in blocks for some in encoder.records(block)]
        return sum(map(len, blocks)) / (time.process_time() - began)

    def read(name: str) -> float:
        messages[name] = list(unpacked(batches[name]))
        began = time.process_time()
        asyncio.run(apply_messages(forms[name], messages[name], plan, products))
        return len(messages[name]) / (time.process_time() - began)

    for what, measured in (("written", written), ("read", read)):
        rates = interleaved({name: partial(measured, name) for name in FORMATS}, arguments.rounds)
        print(f"\nPurchases {what}\n\n{compared(rates, DEFAULT, 'purchases/s')}", flush=True)
    rows = []
    for name, own in messages.items():
        size, packed = sum(len(message.value) for message in own) / len(own), sum(map(len, batches[name])) / len(own)
        rows.append((name, f"{size:.0f}", f"{packed:.1f}"))
    print(f"\n{table(('', 'bytes of a message', 'of a batch for each'), rows)}")


async def opened(settings: FormatSettings) -> Format:
    form = format_of(settings, KafkaSettings())
    await form.open()
    return form


def unpacked(batches: list[bytes]) -> Any:
    offset = 0
    for one in batches:
        records = MemoryRecords(one)
        while records.has_next():
            for message in records.next_batch():
                yield message
                offset += 1


async def apply_messages(form: Format, messages: list[Any], plan: Plan, products: tuple[catalog.Product, ...]) -> None:
    """Apply all messages to a table, chunk by chunk."""
    projection, levels = InventoryProjection(PartitionedCatalog.of(products, 1)), dict[str, Any]()
    for start in range(0, len(messages), CHUNK):
        plain = await form.plain("purchases", messages[start : start + CHUNK])
        applied = projection.apply_sales(EVERYTHING, plain, levels.get, plan.supply)
        assert not applied.dead_letters
        levels |= {level.product_id: level for level in applied.levels}
    assert sum(level.sales for level in levels.values()) == len(messages)


if __name__ == "__main__":
    main()
