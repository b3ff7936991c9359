"""Sales per second through the whole chain, timer → purchases → table → restocks: ours and a plain Faust app, in turn.

    make bench-end-to-end
    make bench-end-to-end ARGS="--seconds 5 --rounds 1"
    make bench-end-to-end ARGS="--rate 100000"      # sales due per second, instead of full speed
    make bench-end-to-end ARGS=--double             # first doubles the rate, as long as the table keeps up

- YASDG: one worker, and two workers, default configuration, with a day of 500,000 sales per second to backfill;
- plain/shop.py: one worker; its timer sells as fast as its agent can follow.

The result is what was both appended and applied to the table within a window of time, observed from outside: the
smaller of the two. "Lag" is how many seconds the table was behind the log at the window's start and end, at that rate;
our worker publishes its position once a second, so a lag of one second means none.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from stage import (
    FULL_SPEED,
    MAX_RATE,
    PARTITIONS,
    Outside,
    Sample,
    growth,
    interleaved,
    kafka,
    pace,
    plain_shop,
    shop_on,
)
from support.shop import Worker
from table import bar, limit, number, ratio, table

WARM_UP_SECONDS = 5.0
FIRST_RATE = 7_812.5  # sales per second; doubled six times it is the maximum rate
RATE_SECONDS = 8.0  # for each rate
MIN_RATE_FRACTION = 0.95  # min fraction of the rate that is both appended and applied
OURS, TWO_WORKERS, PLAIN = "YASDG", "YASDG, 2 workers", "plain Faust"


class Flow(NamedTuple):
    """The result of a window: sales per second, and the table's lag at its start and end."""

    appended: float
    applied: float
    lags: tuple[float, float]

    @property
    def rate(self) -> float:
        return min(self.appended, self.applied)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Flow":
        appended, applied = growth(samples, "appended"), growth(samples, "applied")
        first, *_, last = samples
        start, end = ((sample.appended - sample.applied) / max(applied, 1e-9) for sample in (first, last))
        return cls(appended, applied, (start, end))

    def __str__(self) -> str:
        start, end = self.lags
        return f"{self.appended:,.0f} appended, {self.applied:,.0f} applied, {start:.1f} s, then {end:.1f} s of lag"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, help="sales due per second (default: full speed)")
    parser.add_argument("--double", action="store_true", help="find the highest rate that one worker sustains")
    arguments = parser.parse_args()
    settings = pace(arguments.rate) if arguments.rate else FULL_SPEED
    with kafka() as (folder, servers):
        names = (f"shop{number}" for number in range(1000))

        def ours(workers: int, settings: Mapping[str, str], seconds: float) -> Flow:
            with shop_on(folder, servers, next(names), **settings) as shop:
                started = [shop.worker() for _ in range(workers)]
                for worker in started:
                    worker.until(lambda worker=worker: has(worker, PARTITIONS // workers), "its partitions")
                outside = Outside(servers, shop.topic("purchases"), group=shop.name)
                return flow(outside, started[0], seconds)

        def plain() -> Flow:
            name = next(names)
            with plain_shop(folder, servers, name, rate=float("inf")) as worker:
                outside = Outside(servers, f"{name}.purchases", changelog=f"{name}-inventory-changelog")
                return flow(outside, worker, arguments.seconds)

        if arguments.double:
            rate = FIRST_RATE
            while rate < MAX_RATE and ours(1, pace(2 * rate), RATE_SECONDS).rate > MIN_RATE_FRACTION * 2 * rate:
                rate *= 2
            print(f"One worker follows {rate:,.0f} sales a second.", flush=True)
            settings = pace(rate)
        contenders = {
            OURS: lambda: ours(1, settings, arguments.seconds),
            TWO_WORKERS: lambda: ours(2, settings, arguments.seconds),
            PLAIN: plain,
        }
        flows = interleaved(contenders, arguments.rounds)
    rates = {name: [flow.rate for flow in each] for name, each in flows.items()}
    print(shown(flows, rates))
    print(limit(f"{OURS} / {PLAIN}", ratio(rates, OURS, PLAIN), 75))
    print(f"{TWO_WORKERS} / {OURS} is {number(ratio(rates, TWO_WORKERS, OURS))}")


def has(worker: Worker, partitions: int) -> bool:
    return len(worker.owned()) == partitions


def flow(outside: Outside, worker: Worker, seconds: float) -> Flow:
    """Wait until sales pass the whole chain, and a little longer; then measure."""
    outside.until(worker, 60, lambda sample: sample.applied > 0)
    time.sleep(WARM_UP_SECONDS)
    return Flow.of(outside.during(worker, seconds))


def shown(flows: Mapping[str, Sequence[Flow]], rates: Mapping[str, Sequence[float]]) -> str:
    most = [median(each) for each in rates.values()]
    rows = []
    for name, each in flows.items():
        appended, applied, start, end = (
            median(column) for column in zip(*((f.appended, f.applied, *f.lags) for f in each), strict=True)
        )
        rows.append(
            (
                name, f"{appended:,.0f}", f"{applied:,.0f}", f"{median(rates[name]):,.0f}",
                number(ratio(rates, name, PLAIN)), f"{start:.1f} s, {end:.1f} s", bar(median(rates[name]), most),
            )
        )  # fmt: skip
    header = ("", "appended/s", "applied/s", f"both/s, median of {len(flows[OURS])}", f"× {PLAIN}", "lag", "")
    return table(header, rows)


if __name__ == "__main__":
    main()
