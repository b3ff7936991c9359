"""What a datastore costs: sales a second with one and without, in turn; and how long a large catalog takes.

    make bench-datastore
    make bench-datastore ARGS="--seconds 5 --rounds 1 --products 10000"

- the rate is that of bench-end-to-end, one worker with more to make up for than it can. PostgreSQL and dynalite (for
  DynamoDB) run on the same machine, so that what they take themselves is in it;
- "first" is how long a worker writes all products into an empty datastore, while the shop is quiet; "again" how long
  the next worker compares them with the table. Both are as the worker's /health/ has it.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datastores
from catalogs import write_catalog
from end_to_end import flow, has
from stage import FLAT_OUT, PARTITIONS, Outside, interleaved, kafka, shop_on
from support import Shop, Worker
from table import compared, number, ratio

NONE, KINDS = "none", ("sqlite", "postgresql", "dynamodb")
QUIET = {"SALES_MIN_SALE_FREQ": "1000000", "SALES_MAX_SALE_FREQ": "1000000"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--products", type=int, default=100_000, help="of the large catalog")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    with kafka() as (folder, servers):
        names = (f"shop{count}" for count in range(1000))

        def rate(kind: str) -> float:
            with store(kind, folder) as url, shop_on(folder, servers, next(names), **FLAT_OUT) as shop:
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


@contextmanager
def store(kind: str, folder: Path) -> Iterator[str]:
    """Start a datastore; yields an address in it, and nothing for none."""
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
    """Seconds from a worker's having its partitions until the datastore has all."""
    worker = shop.worker()
    worker.until(lambda: "products was read in" in worker.said, "the table", 600)
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
