"""How long a worker needs to read the table when it takes over, and how much memory that takes, by number of products.

    make bench-recovery                    # 1,000, 100,000 and 1,000,000 products
    make bench-recovery ARGS="--products 27 10000"

The log is made beforehand: one sale of every product, and the changelog of it. What is measured is what the worker
says of its recovery, and the memory of its process at that moment; its start (the catalog, the products topic) comes
before that, and is told too.
"""

import argparse
import asyncio
import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import psutil
from machine import machine
from support import Shop, yasdg

from yasdg_app import catalog, settings
from yasdg_app.brokers.embedded import EmbeddedBroker
from yasdg_app.brokers.node import free_port
from yasdg_app.catalog import Product
from yasdg_app.messages import PurchaseEncoder, home, time_text
from yasdg_app.opening import Opening, open_shop
from yasdg_app.producer import Row, ShopProducer
from yasdg_app.settings import SalesSettings
from yasdg_app.shop.customer import line_of
from yasdg_app.shop.till import NOBODY, Sales

PARTITIONS = 8
HEADER = (
    "ID,Category,Item,Size,Price,COGS,Inventory,ContainsFruit,ContainsVeggies,ContainsNuts,ContainsCaffeine,"
    "_CatWeight,_ItemWeight"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    print(machine())
    print(f"{'products':>10}  {'start':>7}  {'read the table':>14}  {'memory':>8}")
    for count in arguments.products:
        start, recovery, memory = measure(count)
        print(f"{count:>10,}  {start:>5.1f} s  {recovery:>12.1f} s  {memory / 2**20:>5.0f} MB", flush=True)


def measure(count: int) -> tuple[float, float, int]:
    """Seconds until the recovery begins, seconds that it takes, and the process's memory in bytes."""
    with tempfile.TemporaryDirectory(prefix="yasdg-bench-") as name:
        folder = Path(name)
        write_catalog(folder / "products.csv", count)
        broker = EmbeddedBroker(folder / "broker", free_port())
        shop = Shop(folder, "bench").on(broker.start())
        shop.configure(SALES_PRODUCTS=str(folder / "products.csv"), SALES_MAX_SALE_FREQ="1000000")
        try:
            if yasdg(shop, "topics", "create").returncode != 0:
                raise SystemExit("The topics could not be created.")
            asyncio.run(fill(shop))
            began = time.monotonic()
            worker = shop.worker()
            worker.until(lambda: "products was read in" in worker.said, "the recovery", 1200)
            passed = time.monotonic() - began
            memory = psutil.Process(worker.process.pid).memory_info().rss
            said = worker.said.partition(" products was read in ")[2]
            seconds = float(said.partition(" s")[0])
            return passed - seconds, seconds, memory
        finally:
            shop.close()
            broker.stop()


def write_catalog(path: Path, count: int) -> None:
    with path.open("w", newline="") as file:
        file.write(HEADER + "\n")
        csv.writer(file).writerows(
            (f"P{i:07d}", "Made up", f"Drink {i}", "24 oz.", "4.99", "1.50", 75, 1, 0, 0, 0, 1, 1) for i in range(count)
        )


async def fill(shop: Shop) -> None:
    """Open the shop, and put one sale of each product into the log and the changelog."""
    configured = settings.load(shop.environment, shop.folder)
    products = catalog.load(configured.sales.products)
    opening = await open_shop(shop.servers, configured, products)
    producer = ShopProducer(shop.servers, opening.producer_id)
    for partition in range(PARTITIONS):
        own = [product for product in products if home(product.product_id, PARTITIONS) == partition]
        sales = purchases(own, configured.sales, opening)
        await producer.append(shop.topic("purchases"), partition, 0, sales)
        await producer.append(f"{shop.name}-inventory-changelog", partition, 0, levels(own, configured.sales, opening))
    await producer.stop()


def purchases(products: list[Product], sales: SalesSettings, opening: Opening) -> Iterator[Row]:
    every = np.arange(len(products), dtype=np.int64)
    zero = np.zeros_like(every)
    first = Sales(every, zero + 1, opening.opened_at + every, zero, zero, zero + NOBODY)
    for row in PurchaseEncoder(products, sales).encode(first):
        yield Row(*row)


def levels(products: list[Product], sales: SalesSettings, opening: Opening) -> Iterator[Row]:
    for offset, product in enumerate(products):
        line = line_of(product, 0, 0, sales)
        level = {
            "product_id": product.product_id,
            "level": product.inventory - 1,
            "initial": product.inventory,
            "sales": 1,
            "sold": 1,
            "stockings": 0,
            "restocked": 0,
            "revenue_cents": line.total_cents,
            "cost_cents": product.cost_cents,
            "last_sale": time_text(opening.opened_at + offset),
            "offset": offset,
        }
        yield Row(product.product_id.encode(), orjson.dumps(level), opening.opened_at // 1000)


if __name__ == "__main__":
    main()
