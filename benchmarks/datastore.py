"""Cost of a datastore: processor time per row, sales per second with and without, time to write a large catalog.

    make bench-datastore
    make bench-datastore ARGS="--seconds 5 --rounds 1 --products 10000"
    make bench-datastore ARGS=--rows         # only the first of the three

- a row is compared with the stored one, and written if that is missing or older; the processor time is that of this
  process, in batches as in the worker, without that of the server;
- the rate is that of bench-end-to-end, one worker with more to backfill than it can. PostgreSQL and dynalite (for
  DynamoDB) run on the same machine, so the time they take is included;
- "first" is how long a worker takes to write all products into an empty datastore, while the shop is quiet; "again" how
  long the next worker takes to compare them with the table. Both are from the worker's /health/.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from catalogs import write_catalog
from end_to_end import flow, has
from machine import machine
from stage import FULL_SPEED, PARTITIONS, Outside, interleaved, kafka, shop_on
from support import datastores
from support.shop import Shop, Worker
from table import compared, number, ratio, table

from yasdg_app.sinks.base import StoredLevel, compare
from yasdg_app.sinks.factory import create_datastore

NONE, KINDS = "none", ("sqlite", "postgresql", "dynamodb")
MEASURED = 5_000  # rows
MOMENT = "2026-01-01 08:00:00.000001"
QUIET = {"SALES_MIN_SALE_FREQ": "1000000", "SALES_MAX_SALE_FREQ": "1000000"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--products", type=int, default=100_000, help="products of the large catalog")
    parser.add_argument("--rows", action="store_true", help="measure only the processor time per row")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    os.environ.update(datastores.CREDENTIALS)
    rows(arguments.kinds)
    if arguments.rows:
        return
    with kafka() as (folder, servers):
        names = (f"shop{count}" for count in range(1000))

        def rate(kind: str) -> float:
            with store(kind, folder) as url, shop_on(folder, servers, next(names), **FULL_SPEED) as shop:
                worker = kept_in(shop, url).worker()
                worker.until(lambda: has(worker, PARTITIONS), "its partitions")
                return flow(Outside(servers, shop.topic("purchases"), group=shop.name), worker, arguments.seconds).rate

        rates = interleaved({kind: lambda kind=kind: rate(kind) for kind in (NONE, *arguments.kinds)}, arguments.rounds)
        print(compared(rates, NONE, "sales/s"))
        for kind in arguments.kinds:
            print(f"with {kind} / without is {number(ratio(rates, kind, NONE))}")
        write_catalog(folder / "products.csv", arguments.products)
        for kind in arguments.kinds:
            large = {**QUIET, "SALES_PRODUCTS": str(folder / "products.csv")}
            with store(kind, folder) as url, shop_on(folder, servers, next(names), **large) as shop:
                first, again = (until_equal(kept_in(shop, url)) for _ in range(2))
            print(f"{kind}: {arguments.products:,} products, first {first:.1f} s, again {again:.1f} s", flush=True)


def rows(kinds: Sequence[str]) -> None:
    """Print the processor time per row, by kind of datastore."""
    print(machine())
    lines = []
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="yasdg-bench-") as folder, store(kind, Path(folder)) as url:
            lines.append((kind, *(f"{microseconds:,.0f} µs" for microseconds in asyncio.run(costs(url)))))
    print(table(("the row is", "missing", "up to date", "outdated"), lines), flush=True)


async def costs(url: str) -> list[float]:
    """Microseconds of this process for a missing row, then for an up-to-date one, then for an outdated one."""
    store = create_datastore(url)
    assert store is not None
    await store.open()
    found = []
    for sales in (1, 1, 2):
        began = time.process_time()
        for start in range(0, MEASURED, store.batch):
            levels = [level(number, sales) for number in range(start, start + store.batch)]
            to_write = compare(levels, await store.read([each.product_id for each in levels])).to_write
            if to_write:
                await store.write(to_write)
        found.append((time.process_time() - began) / MEASURED * 1e6)
    await store.close()
    return found


def level(number: int, sales: int) -> StoredLevel:
    return StoredLevel(f"P{number:07d}", f"Drink {number}", "Made up", 499, 75, sales, MOMENT, MOMENT)


@contextmanager
def store(kind: str, folder: Path) -> Iterator[str]:
    """Start a datastore; yield an address in it, or an empty text for no datastore."""
    if kind == NONE:
        yield ""
        return
    (place := folder / f"store-{time.monotonic_ns()}").mkdir()
    server = datastores.start(kind, place)
    try:
        yield server.new()
    finally:
        server.close()


def kept_in(shop: Shop, url: str) -> Shop:
    shop.environment |= datastores.CREDENTIALS
    return shop.configure(DATASTORE_URL=url)


def until_equal(shop: Shop) -> float:
    """Seconds from the time when a worker has its partitions until the datastore has all rows."""
    worker = shop.worker()
    worker.until(lambda: "table rows in" in worker.said, "the table", 600)
    began = time.monotonic()
    worker.until(lambda: is_up_to_date(worker), "a datastore that is up to date", 1800)
    seconds = time.monotonic() - began
    worker.stop()
    return seconds


def is_up_to_date(worker: Worker) -> bool:
    found = worker.get("/health/").get("datastore", {})
    return bool(found.get("state") == "up_to_date")


if __name__ == "__main__":
    main()
