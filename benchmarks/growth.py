"""Whether the rate stays constant as the log grows: one worker at full speed until its table has 20 million sales.

    make bench-growth
    make bench-growth ARGS="--sales 4000000"
    make bench-growth ARGS="--rate 100000"      # sales due per second, instead of full speed

Default configuration, with a day of 500,000 sales per second to backfill. The rate is that at which sales are applied
to the table, observed from outside; the appended sales are ahead of it and are shown as well. The first million is the
warm-up: the ratio is that of the last million to the one after the warm-up.

Minutes pass between these two, and the speed of a shared machine may change by a factor of 1.5 from one minute to the
next. So the same is measured in turn as well: a worker continues with the long log, another one opens a shop with an
empty log, and so on; for each, the million after a million of warm-up.
"""

import argparse
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from stage import FULL_SPEED, Outside, Sample, interleaved, kafka, pace, shop_on
from support.shop import Shop
from table import bar, limit, number, ratio, table

MILLION = 1_000_000
MAX_RUN_SECONDS = 1800.0
LONG_LOG, EMPTY_LOG = "a long log", "an empty log"
MAX_SALES_FACTOR = 3  # max sales in the log, in multiples of the requested number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=20 * MILLION)
    parser.add_argument("--step", type=int, default=2 * MILLION, help="sales per line of the table")
    parser.add_argument("--window", type=int, default=MILLION, help="sales of the warm-up, and of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a long log and an empty one")
    parser.add_argument("--rate", type=float, help="sales due per second (default: full speed)")
    arguments = parser.parse_args()
    settings = pace(arguments.rate) if arguments.rate else FULL_SPEED
    most = MAX_SALES_FACTOR * arguments.sales  # bounds the disk usage
    with kafka() as (folder, servers), shop_on(folder, servers, "bench", **settings) as shop:
        outside = Outside(servers, shop.topic("purchases"), group=shop.name)
        samples = grow(shop, outside, arguments.sales, most)
        names = (f"new{number}" for number in range(1000))

        def long_log() -> float:
            return warm_rate(shop, Outside(servers, shop.topic("purchases"), group=shop.name), arguments.window)

        def empty_log() -> float:
            with shop_on(folder, servers, next(names), **settings) as new:
                return warm_rate(new, Outside(servers, new.topic("purchases"), group=new.name), arguments.window)

        in_turn = interleaved({LONG_LOG: long_log, EMPTY_LOG: empty_log}, arguments.rounds)
    print(shown(samples, arguments.step, arguments.sales, arguments.window))
    first = rate(samples, arguments.window, 2 * arguments.window)
    last = rate(samples, arguments.sales - arguments.window, arguments.sales)
    window = f"{arguments.window:,}"
    print(f"The first {window} after a warm-up of the same length: {first:,.0f}/s; the last {window}: {last:,.0f}/s")
    print(limit("last / first", last / first, 0.95))
    for name, rates in in_turn.items():
        print(f"{name}, in turn: {', '.join(f'{found:,.0f}' for found in rates)} sales applied a second")
    print(limit(f"{LONG_LOG} / {EMPTY_LOG}, median of {arguments.rounds}", ratio(in_turn, LONG_LOG, EMPTY_LOG), 0.95))


def grow(shop: Shop, outside: Outside, sales: int, most: int) -> list[Sample]:
    """Run a worker until so many more sales are applied, then stop it; return the samples."""
    worker = shop.worker()
    worker.until(lambda: outside.has(shop.topic("purchases")), "the topics")
    wanted = outside.sample().applied + sales
    samples = outside.until(worker, MAX_RUN_SECONDS, lambda sample: sample.applied >= wanted or sample.appended > most)
    if samples[-1].applied < wanted:
        seconds, appended, done = samples[-1].at - samples[0].at, samples[-1].appended, samples[-1].applied
        raise SystemExit(f"After {seconds:.0f} s {appended:,} sales were appended, and only {done:,} of them applied.")
    worker.kill()
    return samples


def warm_rate(shop: Shop, outside: Outside, window: int) -> float:
    """Start a worker; return the rate at which the table grows, sales per second, after a warm-up of `window` sales."""
    samples = grow(shop, outside, 2 * window, 2**62)
    start = samples[0].applied + window
    return rate(samples, start, start + window)


def shown(samples: Sequence[Sample], step: int, sales: int, warm_up: int) -> str:
    borders = [warm_up, *(border for border in range(step, sales + 1, step) if border > warm_up)]
    rates = [rate(samples, *border) for border in pairwise(borders)]
    rows = [
        (
            f"{start / MILLION:g} to {end / MILLION:g}", f"{found:,.0f}", number(found / rates[0]),
            f"{samples[bisect_left(samples, end, key=applied)].appended / MILLION:.1f}", bar(found, rates),
        )
        for (start, end), found in zip(pairwise(borders), rates, strict=True)
    ]  # fmt: skip
    return table(("sales, million", "applied/s", "× first", "appended by then, million", ""), rows)


def rate(samples: Sequence[Sample], start: int, end: int) -> float:
    """Return the rate at which the table grew from one number of sales to another, sales per second."""
    return (end - start) / (moment(samples, end) - moment(samples, start))


def moment(samples: Sequence[Sample], sales: int) -> float:
    """Return when so many sales were applied: interpolated between two samples."""
    steps = [samples[0], *(b for a, b in pairwise(samples) if a.applied != b.applied)]
    place = max(1, bisect_left(steps, sales, key=applied))
    before, after = steps[place - 1], steps[place]
    return before.at + (after.at - before.at) * (sales - before.applied) / (after.applied - before.applied)


def applied(sample: Sample) -> int:
    return sample.applied


if __name__ == "__main__":
    main()
