"""Duration and correctness of a year's backfill: some 5 million sales, then live.

    make bench-year                            # config/scenarios/year.ini, one worker
    make bench-year ARGS="--workers 2"

The year ends now, so its incidents and its number of sales differ slightly from day to day. An audit follows, and a
comparison of all sales and lost sales with the simulation, byte for byte.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from machine import machine
from oracles.simulation import differences
from support.shop import Shop, Worker, yasdg

from yasdg_app.config.files import PROJECT
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.node import free_port

LIVE_SECONDS = 20.0  # seconds for which it continues afterwards
MAX_WAIT_SECONDS = 3600.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="yasdg-bench-") as folder:
        broker = EmbeddedBroker(Path(folder) / "broker", free_port())
        shop = Shop(Path(folder), "bench").on(broker.start())
        shop.configured_by(PROJECT / "config" / "scenarios" / "year.ini")
        try:
            return measure(shop, arguments.workers)
        finally:
            shop.close()
            broker.stop()


def measure(shop: Shop, count: int) -> int:
    workers = [shop.worker() for _ in range(count)]
    first = workers[0]
    first.until(lambda: first.get("/inventory/")["inventory"], "the first sale")
    began = time.monotonic()
    for worker in workers:
        worker.until(lambda worker=worker: is_ready(worker), "the present", MAX_WAIT_SECONDS)
    seconds = time.monotonic() - began
    time.sleep(LIVE_SECONDS)
    for worker in workers:
        worker.stop()
    report = json.loads(yasdg(shop, "audit", "--json", seconds=MAX_WAIT_SECONDS).stdout)
    events = report["purchases"] + report["lost_sales"]
    print(
        f"{report['purchases']} sales, {report['lost_sales']} lost sales and {report['stockings']} restocks, from "
        f"{report['first']} to {report['last']}: live after {seconds:.0f} s, {events / seconds:.0f} customers "
        f"a second; {count} worker{'s' if count > 1 else ''}",
        flush=True,
    )
    different = differences(shop)
    print(f"audit: {len(report['findings'])} findings; {len(different)} partitions differ from the simulation")
    return 0 if report["balanced"] and not different else 1


def is_ready(worker: Worker) -> bool:
    try:
        with urllib.request.urlopen(f"{worker.web}/ready/", timeout=30) as response:
            return bool(response.status == 200)
    except OSError:  # a status 503 raises one, too
        return False


if __name__ == "__main__":
    sys.exit(main())
