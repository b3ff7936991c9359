"""Cost of keeping the sales of the last day by minute, compared with that of applying them, without a cluster.

    make bench-windows

Chunks of one partition of the default shop are applied, encoded for the changelog, and put into the table. The work
of the windows before and after is timed in the same run, so both times include the same load of the machine.
"""

import argparse
import gc
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faust.types import TP
from machine import machine

from yasdg_app.aggregates.windows import Windows
from yasdg_app.config.catalog import load
from yasdg_app.config.settings import SalesSettings, Settings
from yasdg_app.faust_runtime.shop_app import GC_THRESHOLD
from yasdg_app.faust_runtime.table import PartitionStore, numbers_of
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import InventoryProjection
from yasdg_app.messages.encoders import PurchaseEncoder, encode_level
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.till import Till

PRODUCTS = Path(__file__).parents[1] / "products.csv"
OPENED = 1_709_285_025_123_456
PARTITIONS = 8
PARTITION = 0
TOPICS = "purchases", "lost_sales"
# Messages in a chunk, mean seconds between two sales of the shop, and a description.
CHUNKS = (
    (10_000, 0.00002, "a chunk lies in a minute"),
    (20, 0.005, "a chunk lies in a minute"),
    (10_000, 0.01, "made up for: 13 minutes a chunk"),
    (10_000, 0.1, "made up for: two hours a chunk"),
    (20, 10.0, "made up for: 27 minutes a chunk"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000, help="messages of each kind")
    arguments = parser.parse_args()
    print(machine(), flush=True)
    gc.set_threshold(GC_THRESHOLD)
    for size, mean, what in CHUNKS:
        applying, counting = measured(
            size, mean, max(arguments.messages if size > 20 else arguments.messages // 10, size)
        )
        print(
            f"{size:>6,} messages, {what}: {applying * 1e6:.2f} µs a message to apply, "
            f"{counting * 1e6:.3f} to count: {counting / applying:.2%}",
            flush=True,
        )


def measured(size: int, mean: float, most: int) -> tuple[float, float]:
    """Return the seconds per message to apply it, and to count it."""
    products = load(PRODUCTS)
    catalog = PartitionedCatalog.of(products, PARTITIONS)
    plan = Plan.of(Settings(sales=SalesSettings(min_sale_freq=0, max_sale_freq=2 * mean)), products, OPENED)
    rows, projection, tp = (
        PartitionStore(catalog.products_in(PARTITION)),
        InventoryProjection(catalog),
        TP(TOPICS[0], PARTITION),
    )
    shop: Any = SimpleNamespace(
        settings=SimpleNamespace(kafka=SimpleNamespace(partitions=PARTITIONS)),
        manifest=SimpleNamespace(opened_at=OPENED),
        clock=SimpleNamespace(at=lambda _: OPENED),
    )
    life: Any = SimpleNamespace(run_in_background=lambda work: work.close())
    assignment: Any = SimpleNamespace(topics=TOPICS)
    windows = Windows(shop, life, assignment, catalog, lambda _: rows)
    windows.activate(1, {tp: 0, TP(TOPICS[1], PARTITION): 0})
    applying, counting, count = 0.0, 0.0, 0

    def level_of(product_id: str) -> Any:
        return rows.get(catalog.local_index_of(product_id))

    for chunk in chunks(plan, catalog, size, most):
        began = time.perf_counter()
        applied = projection.apply_sales(tp, chunk, level_of, plan.supply)
        at_count = time.perf_counter()
        contribution = windows.prepare(PARTITION, applied)
        at_write = time.perf_counter()
        applied.sales, applied.sales_by_product = [], None  # free the sales, as the agent does
        numbers = numbers_of(applied.levels)
        for level in applied.levels:
            encode_level(level)
        rows.put([catalog.local_index_of(level.product_id) for level in applied.levels], numbers)
        at_add = time.perf_counter()
        windows.add(PARTITION, applied, contribution)
        ended = time.perf_counter()
        applying += at_count - began + at_add - at_write
        counting += at_write - at_count + ended - at_add
        count += len(chunk)
    return applying / count, counting / count


def chunks(plan: Plan, catalog: PartitionedCatalog, size: int, most: int) -> Iterator[list[Any]]:
    """Yield the log of a partition in chunks."""
    till = Till(plan, catalog.products_in(PARTITION))
    encoder, chunk, until, offset = PurchaseEncoder(till.products, plan.sales), list[Any](), OPENED, 0
    while offset < most:
        until += 60_000_000
        while till.watermark < until:
            for _, value, _ in encoder.encode(till.generate_until(until).sales):
                chunk.append(SimpleNamespace(offset=offset, value=value))
                offset += 1
                if len(chunk) == size:
                    yield chunk
                    chunk = []


if __name__ == "__main__":
    main()
