"""Speed of `yasdg audit`: a worker makes a log, which is then audited several times.

make bench-audit                       # 3 million purchases
make bench-audit ARGS="--sales 500000"
make bench-audit ARGS=--lively         # with lead times, promotions, and customers who buy substitutes
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine
from support.shop import Shop

from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.node import free_port

LIVELY = """
[SALES]
substitution_freq = 5
[CLOCK]
start = 400d
[SUPPLY]
lead_time = 1m - 3m - 10m
partial_freq = 3
[INCIDENT happy-hour]
kind = promotion
every = 1d
duration = 2h
discount = .2
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=3_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lively", action="store_true")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="yasdg-bench-") as folder:
        broker = EmbeddedBroker(Path(folder) / "broker", free_port())
        shop = Shop(Path(folder), "bench").on(broker.start())
        try:
            shop.configure(SALES_MAX_SALE_FREQ="0.00002", SALES_NUMBER_OF_SALES=str(arguments.sales))
            if arguments.lively:
                (shop.folder / "lively.ini").write_text(LIVELY)
                shop.configure(CONFIG=str(shop.folder / "lively.ini"), SALES_MAX_SALE_FREQ="10")
            if shop.worker().ends(1200) != 0:
                raise SystemExit("The worker that makes the log failed.")
            rates = [audited(shop) for _ in range(arguments.runs)]
            print(f"events/s: {', '.join(f'{rate:,.0f}' for rate in rates)}; median {statistics.median(rates):,.0f}")
        finally:
            shop.close()
            broker.stop()


def audited(shop: Shop) -> float:
    """Purchases, lost sales and restocks audited per second, including the start of the process."""
    began = time.monotonic()
    command = [sys.executable, "-m", "yasdg_app", "audit", "--json"]
    output = subprocess.run(command, cwd=shop.folder, env=shop.environment, check=True, capture_output=True).stdout
    report = json.loads(output)
    assert report["balanced"]
    return float(report["purchases"] + report["stockings"] + report["lost_sales"]) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
