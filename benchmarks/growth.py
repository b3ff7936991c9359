"""Whether the rate holds as the log grows: one worker, all that it can, until 20 million sales are in its table.

    make bench-growth
    make bench-growth ARGS="--sales 4000000"
    make bench-growth ARGS="--rate 100000"      # so many sales are due each second, instead of all it can

Default configuration, with a day of 500,000 sales a second to make up for. The rate is that at which sales are applied
to the table, seen from outside; those that are appended run ahead of it and are shown beside. The first million is
warm-up: the ratio is that of the last million to the one behind the warm-up.
"""

import argparse
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from stage import FLAT_OUT, Outside, Sample, kafka, pace, shop_on
from table import bar, limit, number, table

MILLION = 1_000_000
LONGEST = 1800.0  # seconds
MOST_AHEAD = 3  # times as many sales as asked for that may be in the log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=20 * MILLION)
    parser.add_argument("--step", type=int, default=2 * MILLION, help="sales that a line of the table is about")
    parser.add_argument("--window", type=int, default=MILLION, help="sales of the warm-up, and of what is compared")
    parser.add_argument("--rate", type=float, help="of sales a second; left out: as many as it can")
    arguments = parser.parse_args()
    settings = pace(arguments.rate) if arguments.rate else FLAT_OUT
    most = MOST_AHEAD * arguments.sales  # what lies on the disk is bounded
    with kafka() as (folder, servers), shop_on(folder, servers, "bench", **settings) as shop:
        worker = shop.worker()
        outside = Outside(servers, shop.topic("purchases"), group=shop.name)
        samples = outside.until(
            worker, LONGEST, lambda sample: sample.applied >= arguments.sales or sample.appended > most
        )
    if samples[-1].applied < arguments.sales:
        seconds, appended, done = samples[-1].at - samples[0].at, samples[-1].appended, samples[-1].applied
        raise SystemExit(f"After {seconds:.0f} s {appended:,} sales were appended, and only {done:,} of them applied.")
    print(shown(samples, arguments.step, arguments.sales, arguments.window))
    first = rate(samples, arguments.window, 2 * arguments.window)
    last = rate(samples, arguments.sales - arguments.window, arguments.sales)
    window = f"{arguments.window:,}"
    print(f"The first {window} behind as many of warm-up: {first:,.0f}/s; the last {window}: {last:,.0f}/s")
    print(limit("last / first", last / first, 0.95))


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
    """Return by how many sales a second the table grew from one number of sales to another."""
    return (end - start) / (moment(samples, end) - moment(samples, start))


def moment(samples: Sequence[Sample], sales: int) -> float:
    """Return when so many sales were applied: between two positions, as if it had grown evenly."""
    steps = [samples[0], *(b for a, b in pairwise(samples) if a.applied != b.applied)]
    place = max(1, bisect_left(steps, sales, key=applied))
    before, after = steps[place - 1], steps[place]
    return before.at + (after.at - before.at) * (sales - before.applied) / (after.applied - before.applied)


def applied(sample: Sample) -> int:
    return sample.applied


if __name__ == "__main__":
    main()
