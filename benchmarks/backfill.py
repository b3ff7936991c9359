"""Speed of a backfill: the year of config/scenarios/year.ini, to Apache Kafka and to a file.

    make bench-backfill
    make bench-backfill ARGS="--days 30"

- to Kafka: one worker, from its first sale until it is live and its table is up to date, including restocks;
- to a file: `yasdg generate --to FILE`, purchases as JSON lines, including its start.

`make bench-year` checks the data in Kafka, and measures the duration of the audit.
"""

import argparse
import subprocess
import time
from pathlib import Path

from stage import Outside, interleaved, kafka, shop_on
from support.shop import Shop, yasdg
from table import compared
from year import MAX_WAIT_SECONDS, is_ready

from yasdg_app.config.files import PROJECT

SCENARIO = PROJECT / "config" / "scenarios" / "year.ini"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365, help="days of the backfill")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    with kafka() as (folder, servers):
        names = (f"year{number}" for number in range(1000))

        def to_kafka() -> float:
            with shop_on(folder, servers, next(names)) as shop:
                shop.configured_by(SCENARIO).configure(CLOCK_START=f"{arguments.days}d")
                worker = shop.worker()
                outside = Outside(servers, shop.topic("purchases"), group=shop.name)
                outside.until(worker, 120, lambda sample: sample.appended > 0)
                began = time.monotonic()
                worker.until(lambda: is_ready(worker), "the present", MAX_WAIT_SECONDS)
                return print_rate("to Kafka", outside.sample().appended, time.monotonic() - began)

        def to_file() -> float:
            name = next(names)
            (folder / name).mkdir()
            shop = Shop(folder / name, name).on(servers)
            shop.configured_by(SCENARIO).configure(CLOCK_START=f"{arguments.days}d")
            path = shop.folder / "purchases.jsonl"
            began = time.monotonic()
            done = yasdg(shop, "generate", "--to", str(path), seconds=MAX_WAIT_SECONDS)
            seconds = time.monotonic() - began
            if done.returncode != 0:
                raise SystemExit(f"yasdg generate failed:\n{done.stdout}{done.stderr}")
            count = lines(path)
            path.unlink()
            return print_rate("to a file", count, seconds)

        rates = interleaved({"Kafka": to_kafka, "file": to_file}, arguments.rounds)
    print(compared(rates, "Kafka", "purchases/s"))


def print_rate(where: str, count: int, seconds: float) -> float:
    print(f"{count:,} purchases {where} in {seconds:.1f} s", flush=True)
    return count / seconds


def lines(path: Path) -> int:
    return int(subprocess.run(["wc", "-l", path], capture_output=True, check=True).stdout.split()[0])


if __name__ == "__main__":
    main()
