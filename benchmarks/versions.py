"""Compares this checkout with another one in alternating rounds, to find out whether a change has reduced speed.

    git worktree add /tmp/before <commit>
    make bench-versions ARGS="--before /tmp/before"
    make bench-versions ARGS="--before /tmp/before --only produce --rounds 3"

Both run with the packages of this checkout's .venv. They measure the same as the benchmarks of the same names:

- end-to-end: sales per second that are both appended and applied by one worker at full speed;
- produce: sales per second that are simulated, encoded and appended;
- consume: purchases per second that a worker applies from an unread log;
- latency: milliseconds from a purchase to its restock, p50, at 2,000 sales per second; here a ratio above 1 is worse.

A ratio is the median of this checkout divided by that of the other; the spread is the lowest and the highest ratio
within a round.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from consume import write, yesterday
from stage import FULL_SPEED, Outside, create_topics, delete_topics, growth, interleaved, kafka, pace, run, shop_on
from support.shop import Shop
from table import table

HERE = Path(__file__).parents[1]
NOW, BEFORE = "now", "before"
WARM_UP_SECONDS = 5.0
BENCHES = ("end-to-end", "produce", "consume", "latency")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a measurement")
    parser.add_argument("--messages", type=int, default=2_000_000, help="messages per run")
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=list(BENCHES))
    arguments = parser.parse_args()
    checkouts = {BEFORE: arguments.before.resolve(), NOW: HERE}
    rows = []
    with kafka() as (folder, servers):
        names = (f"shop{number}" for number in range(1000))

        def worker_of(checkout: Path, shop: Shop) -> Shop:
            shop.environment["PYTHONPATH"] = str(checkout)
            return shop

        def end_to_end(checkout: Path) -> float:
            with shop_on(folder, servers, next(names), **FULL_SPEED) as shop:
                worker = worker_of(checkout, shop).worker()
                outside = Outside(servers, shop.topic("purchases"), group=shop.name)
                outside.until(worker, 60, lambda sample: sample.applied > 0)
                time.sleep(WARM_UP_SECONDS)
                samples = outside.during(worker, arguments.seconds)
                return min(growth(samples, "appended"), growth(samples, "applied"))

        def produce(checkout: Path) -> float:
            create_topics(servers, topic := f"{next(names)}.purchases")
            try:
                return produced(checkout, servers, topic, arguments.messages)
            finally:
                delete_topics(servers, topic.partition(".")[0])

        def consume(checkout: Path) -> float:
            with shop_on(folder, servers, next(names), **(FULL_SPEED | yesterday(arguments.messages))) as shop:
                count = asyncio.run(write(shop))
                worker = worker_of(checkout, shop).worker()
                outside = Outside(servers, shop.topic("purchases"), group=shop.name)
                samples = outside.until(worker, 600, lambda sample: sample.applied >= count)
                if worker.ends() != 0:
                    raise SystemExit(f"The worker failed. It said:\n{worker.said}")
                return growth(samples[:-1], "applied")

        def latency(checkout: Path) -> float:
            with shop_on(folder, servers, next(names), **pace(2_000)) as shop:
                worker = worker_of(checkout, shop).worker()
                worker.until(lambda: worker.get("/inventory/")["inventory"], "the first sale")
                time.sleep(WARM_UP_SECONDS)
                reader = str(HERE / "benchmarks" / "latency.py")
                seconds = str(arguments.seconds)
                found = run(reader, "--seconds", seconds, "--read", servers, shop.name, "2000", seconds=120)
                return float(found["restock_50"])

        benches: dict[str, Callable[[Path], float]] = dict(
            zip(BENCHES, (end_to_end, produce, consume, latency), strict=True)
        )
        for name in arguments.only:
            bench = benches[name]
            contenders = {
                version: lambda bench=bench, checkout=checkout: bench(checkout)
                for version, checkout in checkouts.items()
            }
            found = interleaved(contenders, arguments.rounds)
            ratios = sorted(now / before for before, now in zip(found[BEFORE], found[NOW], strict=True))
            rows.append(
                (
                    name, *(f"{median(found[version]):,.4g}" for version in (BEFORE, NOW)),
                    f"{median(found[NOW]) / median(found[BEFORE]):.3f}", f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
                )
            )  # fmt: skip
    print(table(("", BEFORE, NOW, f"ratio of medians of {arguments.rounds}", "spread"), rows))


def produced(checkout: Path, servers: str, topic: str, messages: int) -> float:
    """Return how many messages per second the classes of a checkout append, by its own benchmark."""
    path = os.pathsep.join(map(str, (checkout / "benchmarks", checkout, checkout / "tests")))
    script = f"import json, produce; print(json.dumps(produce.by_us({servers!r}, {topic!r}, {messages})))"
    sent, seconds = run("env", f"PYTHONPATH={path}", sys.executable, "-c", script, cwd=checkout)
    return float(sent / seconds)


if __name__ == "__main__":
    main()
