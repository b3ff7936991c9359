"""Cost of a sale for a worker, by size of the catalog: CPU, start, reading the table, memory.

    make bench-catalog                                   # 27, 10,000 and 1,000,000 products, 20,000 sales a second
    make bench-catalog ARGS="--products 27 10000"
    make bench-catalog ARGS="--rate 500000"              # at full speed

The log is prepared: one sale of each product, and their changelog, so the table is full. A worker starts on it,
backfills the time since the opening and continues live. It is measured once it is up to date, or after `--patience`
seconds. "CPU" is the worker's own, all its threads, per sale that was both appended and applied; "lag" is how late its
sales are at the end.
"""

import argparse
import asyncio
import re
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import psutil
from catalogs import fill, write_catalog
from stage import Outside, kafka, pace, shop_on
from support.shop import Worker, yasdg
from table import at_most, bar, number, table
from year import is_ready

MAX_RECOVERY_SECONDS = 1200.0  # max seconds for a worker to read its table


class Found(NamedTuple):
    start: float  # seconds until it starts to read the table
    recovery: float  # seconds it takes to read the table
    rate: float  # sales per second, appended and applied
    cpu: float  # seconds in the window
    sales: int  # both appended and applied in the window
    memory: int  # bytes
    delay: float  # of the latest partition, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, nargs="+", default=[27, 10_000, 1_000_000])
    parser.add_argument("--rate", type=int, default=20_000, help="sales per second")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the measurement")
    parser.add_argument("--patience", type=float, default=180.0, help="max seconds until the table is up to date")
    arguments = parser.parse_args()
    found = {}
    with kafka() as (folder, servers):
        for count in arguments.products:
            found[count] = measure(folder, servers, count, arguments)
    costs = {count: one.cpu / one.sales * 1e6 if one.sales else float("inf") for count, one in found.items()}
    known = [cost for cost in costs.values() if cost < float("inf")]
    rows = [
        (
            f"{count:,}", f"{one.start:.1f} s", f"{one.recovery:.1f} s", f"{one.rate:,.0f}",
            f"{number(costs[count])} µs" if one.sales else "none sold", f"{one.delay:.1f} s",
            f"{one.memory / 2**20:,.0f} MB", bar(costs[count], known) if one.sales else "",
        )
        for count, one in found.items()
    ]  # fmt: skip
    print(table(("products", "start", "read the table", "sales/s", "CPU per sale", "lag", "memory", "CPU"), rows))
    if len(known) > 1:
        print(
            at_most(
                f"CPU per sale with the most products / with {min(found):,}", costs[max(found)] / costs[min(found)], 3
            )
        )


def measure(folder: Path, servers: str, count: int, arguments: argparse.Namespace) -> Found:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        products = Path(own) / "products.csv"
        write_catalog(products, count)
        settings = pace(arguments.rate) | {"SALES_PRODUCTS": str(products)}
        with shop_on(folder, servers, f"catalog{count}", **settings) as shop:
            if yasdg(shop, "topics", "create").returncode != 0:
                raise SystemExit("The topics could not be created.")
            asyncio.run(fill(shop))
            began = time.monotonic()
            worker = shop.worker()
            worker.until(lambda: "table rows in" in worker.said, "the recovery", MAX_RECOVERY_SECONDS)
            passed = time.monotonic() - began
            recovery = float(worker.said.partition(" table rows in ")[2].partition(" s")[0])
            deadline = time.monotonic() + arguments.patience
            while time.monotonic() < deadline and not is_ready(worker):
                time.sleep(0.5)
            outside = Outside(servers, shop.topic("purchases"), group=shop.name)
            process = psutil.Process(worker.process.pid)
            before = process.cpu_times()
            samples = outside.during(worker, arguments.seconds)
            after = process.cpu_times()
            first, last = samples[0], samples[-1]
            sales = min(last.appended - first.appended, last.applied - first.applied)
            return Found(
                start=passed - recovery,
                recovery=recovery,
                rate=sales / (last.at - first.at),
                cpu=after.user + after.system - before.user - before.system,
                sales=sales,
                memory=process.memory_info().rss,
                delay=delay_of(worker),
            )


def delay_of(worker: Worker) -> float:
    """Return how many seconds late the sales of the worker's latest partition are."""
    try:
        with urllib.request.urlopen(f"{worker.web}/metrics", timeout=60) as response:
            text = response.read().decode()
    except OSError:
        return float("nan")  # the worker is too busy to answer
    return max(float(delay) for delay in re.findall(r"^yasdg_till_delay_seconds\{.*\} (\S+)$", text, re.MULTILINE))


if __name__ == "__main__":
    main()
