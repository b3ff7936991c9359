"""Large catalogs, and a log with one sale of each product, so that the table has a row for all of them."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
from ours import encoded
from support.shop import Shop

from yasdg_app.cluster_state.bootstrap import open_shop
from yasdg_app.cluster_state.manifest import ShopManifest
from yasdg_app.config import catalog, ini
from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SalesSettings
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.producer import ProducerRecord, ShopProducer
from yasdg_app.messages.formats import Format
from yasdg_app.messages.ids import default_partition
from yasdg_app.messages.times import time_text
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.sales import NO_PRODUCT, Sales

PARTITIONS = 8
HEADER = (
    "ID,Category,Item,Size,Price,COGS,Inventory,ContainsFruit,ContainsVeggies,ContainsNuts,ContainsCaffeine,"
    "_CatWeight,_ItemWeight"
)


def write_catalog(path: Path, count: int) -> None:
    with path.open("w", newline="") as file:
        file.write(HEADER + "\n")
        csv.writer(file).writerows(
            (f"P{i:07d}", "Made up", f"Drink {i}", "24 oz.", "4.99", "1.50", 75, 1, 0, 0, 0, 1, 1) for i in range(count)
        )


async def fill(shop: Shop) -> None:
    """Open the shop, and write one sale of each product to the log and the changelog."""
    configured = ini.load(shop.environment, shop.folder)
    products = catalog.load(configured.sales.products)
    opening = await open_shop(Connection(shop.servers), configured, products, Format())
    producer = ShopProducer(Connection(shop.servers), opening.producer_id)
    for partition in range(PARTITIONS):
        own = [product for product in products if default_partition(product.product_id, PARTITIONS) == partition]
        sales = purchases(own, configured.sales, opening)
        await producer.append(shop.topic("purchases"), partition, 0, sales)
        await producer.append(f"{shop.name}-inventory-changelog", partition, 0, levels(own, configured.sales, opening))
    await producer.stop()


def purchases(products: list[Product], sales: SalesSettings, opening: ShopManifest) -> Iterator[ProducerRecord]:
    every = np.arange(len(products), dtype=np.int64)
    zero = np.zeros_like(every)
    return encoded(products, sales, Sales(every, zero + 1, opening.opened_at + every, zero, zero, zero + NO_PRODUCT))


def levels(products: list[Product], sales: SalesSettings, opening: ShopManifest) -> Iterator[ProducerRecord]:
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
        yield ProducerRecord(product.product_id.encode(), orjson.dumps(level), opening.opened_at // 1000)
