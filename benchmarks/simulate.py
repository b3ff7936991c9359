"""Cost of the simulated shop alone, without a cluster: customers per second of processor time, and memory.

    make bench-simulate                              # the default shop, and shops of 27 to 1,000,000 products
    make bench-simulate ARGS="--products 1000000"    # one of these

Every shop is served by the tills of its eight partitions, one after the other, in steps of a tenth of a second.
"""

import argparse
import resource
import time
from pathlib import Path

from machine import machine

from yasdg_app.config import catalog
from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SalesSettings, Settings
from yasdg_app.messages.ids import default_partition
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.till import Till

PRODUCTS = Path(__file__).parents[1] / "products.csv"
OPENED_AT = 1_709_285_025_123_456
MEAN_SECONDS = (1.0, 0.0005, 0.00001, 0.000002)  # mean seconds between two sales
RATE = 100_000  # customers per second of the other shops
CATALOG_SIZES = (27, 10_000, 1_000_000)
PARTITIONS = 8
SECOND = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, nargs="*", default=CATALOG_SIZES, help="sizes of the catalog")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    arguments = parser.parse_args()
    print(machine(), flush=True)
    if arguments.products == CATALOG_SIZES:
        for mean in MEAN_SECONDS:
            default(mean, arguments.seconds)
    for count in arguments.products:
        shared(count, arguments.seconds)


def default(mean: float, seconds: float) -> None:
    products = catalog.load(PRODUCTS)
    plan = Plan.of(settings(mean), products, OPENED_AT)
    served, took = serve([Till(plan, products)], int(20_000 * mean * SECOND), seconds)
    print(f"the default shop, {mean:g} s between sales: {served / took / 1e6:.2f} million customers/s", flush=True)


def shared(count: int, seconds: float) -> None:
    products = [one(place) for place in range(count)]
    before = time.process_time()
    plan = Plan.of(settings(1 / RATE), products, OPENED_AT)
    planned, own = time.process_time() - before, [list[Product]() for _ in range(PARTITIONS)]
    for product in products:
        own[default_partition(product.product_id, PARTITIONS)].append(product)
    before = time.process_time()
    tills = [Till(plan, each) for each in own if each]
    opened = (time.process_time() - before) / len(tills)
    served, took = serve(tills, SECOND // 10, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count} products, {RATE} customers/s, {len(tills)} tills: {took / served * 1e9:.0f} ns a customer; "
        f"cells of {plan.grid.seconds:g} s; plan made in {planned:.2f} s, a till in {opened:.2f} s; "
        f"{peak:.0f} MiB at most so far",
        flush=True,
    )


def one(place: int) -> Product:
    size = ("12 oz.", "24 oz.")[place % 2]
    return Product(
        f"P{place:07d}", f"Category {place % 50}", f"Item {place // 2}", size, 499, 150, 75, *(False,) * 4,
        1 + place % 3, 1 + place % 7, 0,
    )  # fmt: skip


def settings(mean: float) -> Settings:
    return Settings(sales=SalesSettings(min_sale_freq=0.0, max_sale_freq=2 * mean))


def serve(tills: list[Till], step: int, seconds: float) -> tuple[int, float]:
    """Return the number of customers served, and the duration in seconds."""
    until, began = OPENED_AT, time.process_time()
    while time.process_time() - began < seconds:
        until += step
        for till in tills:
            while till.watermark < until:
                till.generate_until(until)
    return sum(till.customers_served for till in tills), time.process_time() - began


if __name__ == "__main__":
    main()
