"""What each worker says of its part of the stream becomes what any worker says of the whole. Pure.

A partition has one owner in a generation of the group. What is merged is of one generation, so nothing is in it twice,
and what is not in it is named, with the reason.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from yasdg_app.shop.demand import Ints

MOST_LATEST = 50  # restocks, and lost sales, that are told of
MOST_PRODUCTS = 200  # on the page
MOST_BEST = 20  # best sellers of a window

Count = tuple[int, int, int]
"""Number of sales, units, and revenue in cents."""

NONE: Count = (0, 0, 0)


class Share(msgspec.Struct):
    """What a worker says. Its partitions are those that are its own in a generation; None: it has none now."""

    generation: int | None
    partitions: list[int]


class Counted(msgspec.Struct):
    """Sales by something that has a place among its like."""

    place: int
    key: str
    sales: int
    units: int
    cents: int


class LevelsShare(Share):
    """Rows of the table, by the place of their product in the catalog, from the first on that was asked for."""

    rows: list[tuple[int, dict[str, Any]]]


class SalesShare(Share):
    """Sales of a window. Times are event times, None if the worker knows of no partition with products."""

    complete_from: int | None
    complete_through: int | None
    rows: list[Counted]


class State(msgspec.Struct):
    """How a worker is."""

    ready: bool
    reasons: list[str]
    lag: int | None
    rate: float
    behind: float | None


class StateShare(Share):
    """That alone."""

    state: State


class Line(msgspec.Struct):
    """A product as the page shows it; see docs/views.md."""

    product_id: str
    item: str
    category: str
    level: int
    initial: int
    minimum: int
    restock_amount: int
    on_order: int
    promised: str | None
    to_empty: float | None
    sales: int
    sold: int
    revenue: float
    lost_sales: int


class Totals(msgspec.Struct):
    """Since the opening."""

    sales: int = 0
    units: int = 0
    cents: int = 0
    restocks: int = 0
    lost_sales: int = 0


class Window(msgspec.Struct):
    """Sales of a window: by category, and of the best sellers."""

    categories: dict[str, Count]
    products: list[Counted]


class Past(msgspec.Struct):
    """What was sold in the minutes before `through`: the windows that end there, and each minute from `first` on."""

    first: int
    through: int
    windows: dict[str, Window]
    series: dict[str, list[tuple[int, int]]]  # sales and cents a minute, by category


class LiveShare(StateShare):
    """What the page shows of a worker's part."""

    complete_from: int | None
    complete_through: int | None
    totals: Totals
    products: list[Line]
    past: Past | None  # None: nobody asked, or it is not known up to there
    restocks: list[dict[str, Any]]
    lost_sales: list[dict[str, Any]]


S = TypeVar("S", bound=Share)


class Missing(NamedTuple):
    """Partitions that nothing is known of, whose they are as far as is known, and why."""

    partitions: list[int]
    url: str | None
    why: str


class Gathered(NamedTuple, Generic[S]):
    """Shares of one generation by the address of their worker, and what is missing in them."""

    shares: dict[str, S]
    missing: list[Missing]
    silent: dict[str, str]  # workers that say nothing, and why

    @property
    def partitions(self) -> list[int]:
        """The partitions that are in it."""
        return sorted(partition for share in self.shares.values() for partition in share.partitions)


JOINING = "is joining the group, or recovering its table"
NOBODY = "nobody has them now"


def stand_together(
    answers: Mapping[str, S | str], assigned: Mapping[str, Iterable[int]], partitions: int
) -> Gathered[S]:
    """Take of the answers those that belong together, and say which partitions are missing.

    Parameters
    ----------
    answers
        What each worker said, or why it said nothing, by its address.
    assigned
        The partitions that each has, as far as the worker knows that asks.
    partitions
        How many there are.
    """
    shares = {url: answer for url, answer in answers.items() if not isinstance(answer, str)}
    newest = max((share.generation for share in shares.values() if share.generation is not None), default=None)
    kept: dict[str, S] = {}
    covered: set[int] = set()
    for url, share in sorted(shares.items()):
        current = share.generation is not None and share.generation == newest
        if not current or not covered.isdisjoint(share.partitions):  # the same worker, by another address
            share = msgspec.structs.replace(share, partitions=[])
        kept[url] = share
        covered.update(share.partitions)
    owners = {partition: url for url, own in assigned.items() for partition in own}
    absent: defaultdict[str | None, list[int]] = defaultdict(list)
    for partition in range(partitions):
        if partition not in covered:
            absent[owners.get(partition)].append(partition)
    silent = {url: answer for url, answer in answers.items() if isinstance(answer, str)}
    missing = [
        Missing(own, url, NOBODY if url is None else silent.get(url, JOINING))
        for url, own in sorted(absent.items(), key=lambda pair: pair[1])
    ]
    return Gathered(kept, missing, silent)


def owning(gathered: Gathered[S]) -> list[S]:
    """Return the shares that are a part of the whole."""
    return [share for share in gathered.shares.values() if share.partitions]


def levels(shares: Iterable[LevelsShare], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the first rows of all, and whether there are more. Each share has the first `limit` + 1 of its own."""
    rows = sorted((row for share in shares for row in share.rows), key=lambda row: row[0])
    return [row for _, row in rows[:limit]], len(rows) > limit


def counted(shares: Iterable[Iterable[Counted]], limit: int) -> tuple[list[Counted], bool]:
    """Return the first counts of all, and whether there are more; those of one key are added up. As `levels`."""
    sums: dict[str, Counted] = {}
    for rows in shares:
        for row in rows:
            so_far = sums.get(row.key)
            sums[row.key] = row if so_far is None else _sum(so_far, row)
    ordered = sorted(sums.values(), key=attrgetter("place"))
    return ordered[:limit], len(ordered) > limit


def _sum(one: Counted, other: Counted) -> Counted:
    sales, units, cents = one.sales + other.sales, one.units + other.units, one.cents + other.cents
    return Counted(one.place, one.key, sales, units, cents)


def complete_through(shares: Iterable[SalesShare | LiveShare]) -> int | None:
    """Return the event time up to which everybody's sales are known; None if nobody knows of any."""
    return min((share.complete_through for share in shares if share.complete_through is not None), default=None)


def is_whole(since: int | None, first: int) -> bool:
    """Tell whether what begins at an event time is known whole. `since`: see `complete_from`."""
    return since is None or since <= first


def complete_from(shares: Iterable[SalesShare | LiveShare]) -> int | None:
    """Return the event time from which on everybody's sales are known; None if nobody knows of any."""
    return max((share.complete_from for share in shares if share.complete_from is not None), default=None)


def totals(shares: Iterable[LiveShare]) -> Totals:
    """Add up the totals."""
    all_of_them = [msgspec.structs.astuple(share.totals) for share in shares]
    return Totals(*(sum(column) for column in zip(*all_of_them, strict=True))) if all_of_them else Totals()


def lines(shares: Iterable[LiveShare], places: Mapping[str, int]) -> list[Line]:
    """Return the products with the highest sales, those that stand first in the catalog among equals."""
    every = (line for share in shares for line in share.products)
    return sorted(every, key=lambda line: (-line.sales, places[line.product_id]))[:MOST_PRODUCTS]


def past(shares: Sequence[LiveShare]) -> Past | None:
    """Add up what was sold; None unless all shares tell of the same minutes."""
    pasts = [share.past for share in shares if share.past is not None]
    if not pasts or len(pasts) < len(shares) or len({each.through for each in pasts}) > 1:
        return None
    windows = {name: _window([each.windows[name] for each in pasts]) for name in pasts[0].windows}
    series: dict[str, list[tuple[int, int]]] = {}
    for each in pasts:
        for category, minutes in each.series.items():
            so_far = series.get(category)
            series[category] = (
                minutes if so_far is None else [(a + c, b + d) for (a, b), (c, d) in zip(so_far, minutes, strict=True)]
            )
    return Past(pasts[0].first, pasts[0].through, windows, series)


def _window(windows: Sequence[Window]) -> Window:
    categories: dict[str, Count] = {}
    for window in windows:
        for category, (sales, units, cents) in window.categories.items():
            so_far = categories.get(category, NONE)
            categories[category] = (so_far[0] + sales, so_far[1] + units, so_far[2] + cents)
    return Window(categories, best_sellers(row for window in windows for row in window.products))


def best_sellers(rows: Iterable[Counted]) -> list[Counted]:
    """Return the products with the most sales in a window, those that stand first in the catalog among equals."""
    return sorted(rows, key=lambda row: (-row.sales, row.place))[:MOST_BEST]


def latest(shares: Iterable[Sequence[dict[str, Any]]], key: str) -> list[dict[str, Any]]:
    """Return the latest messages of all, newest first; `key` names the field that tells those of one moment apart."""
    every = (message for share in shares for message in share)
    return sorted(every, key=lambda message: (message["event_time"], message[key]), reverse=True)[:MOST_LATEST]


def largest(values: Ints, most: int) -> Ints:
    """Return where the largest values are, the first ones among equals."""
    if len(values) <= most:
        return np.arange(len(values))
    least = np.partition(values, len(values) - most)[len(values) - most]
    above, equal = np.flatnonzero(values > least), np.flatnonzero(values == least)
    return np.concatenate([above, equal[: most - len(above)]])
