"""Time and memory that a worker needs to read the table at a takeover, by number of products.

    make bench-recovery                    # 1,000, 100,000 and 1,000,000 products
    make bench-recovery ARGS="--products 27 10000"

The log is prepared: one sale of every product, and their changelog. The results are the recovery time that the worker
logs, and the memory of its process at that moment; the time of its start (the catalog, the products topic), which comes
before, is shown as well.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import psutil
from catalogs import fill, write_catalog
from machine import machine
from support.shop import Shop, yasdg

from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.node import free_port


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
    """Seconds until the recovery starts, seconds that it takes, and the process's memory in bytes."""
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
            worker.until(lambda: "table rows in" in worker.said, "the recovery", 1200)
            passed = time.monotonic() - began
            memory = psutil.Process(worker.process.pid).memory_info().rss
            said = worker.said.partition(" table rows in ")[2]
            seconds = float(said.partition(" s")[0])
            return passed - seconds, seconds, memory
        finally:
            shop.close()
            broker.stop()


if __name__ == "__main__":
    main()
