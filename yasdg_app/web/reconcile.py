"""Combines the partial results of all workers into the result for the whole stream. Pure.

A partition has one owner in a generation of the group. All combined results are of one generation, so nothing is
counted twice, and partitions that are not included are listed with the reason.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from yasdg_app.shop.demand import Ints
from yasdg_app.web.results import (
    ZERO,
    Count,
    Gathered,
    MissingPartitions,
    P,
    PartialLevels,
    PartialSales,
    PartialSnapshot,
    ProductLine,
    SalesCount,
    SalesHistory,
    Totals,
    WindowSales,
)

MAX_LATEST = 50  # restocks, and lost sales
MAX_PRODUCTS = 200  # on the page
MAX_BEST_SELLERS = 20  # of a window

JOINING = "is joining the group, or restoring its table"
UNASSIGNED = "no worker owns them at the moment"


def reconcile(answers: Mapping[str, P | str], assigned: Mapping[str, Iterable[int]], partitions: int) -> Gathered[P]:
    """Select the partial results of the newest generation, and list the partitions that are missing.

    Parameters
    ----------
    answers
        The partial result of each worker, or why there is none, by the worker's URL.
    assigned
        The partitions of each worker, as the querying worker knows them.
    partitions
        The number of partitions.
    """
    parts = {url: answer for url, answer in answers.items() if not isinstance(answer, str)}
    newest = max((part.generation for part in parts.values() if part.generation is not None), default=None)
    kept: dict[str, P] = {}
    covered: set[int] = set()
    for url, part in sorted(parts.items()):
        current = part.generation is not None and part.generation == newest
        if not current or not covered.isdisjoint(part.partitions):  # one worker with two URLs
            part = msgspec.structs.replace(part, partitions=[])
        kept[url] = part
        covered.update(part.partitions)
    owners = {partition: url for url, own in assigned.items() for partition in own}
    absent: defaultdict[str | None, list[int]] = defaultdict(list)
    for partition in range(partitions):
        if partition not in covered:
            absent[owners.get(partition)].append(partition)
    silent = {url: answer for url, answer in answers.items() if isinstance(answer, str)}
    missing = [
        MissingPartitions(own, url, UNASSIGNED if url is None else silent.get(url, JOINING))
        for url, own in sorted(absent.items(), key=lambda pair: pair[1])
    ]
    return Gathered(kept, missing, silent)


def merge_levels(parts: Iterable[PartialLevels], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the first rows of all, and whether there are more. Each part must have its own first `limit` + 1 rows."""
    rows = sorted((row for part in parts for row in part.rows), key=lambda row: row[0])
    return [row for _, row in rows[:limit]], len(rows) > limit


def merge_sales(parts: Iterable[Iterable[SalesCount]], limit: int) -> tuple[list[SalesCount], bool]:
    """Return the first rows of all, those of one key added up, and whether there are more; see `merge_levels`."""
    sums: dict[str, SalesCount] = {}
    for rows in parts:
        for row in rows:
            so_far = sums.get(row.key)
            sums[row.key] = row if so_far is None else _sum(so_far, row)
    ordered = sorted(sums.values(), key=attrgetter("place"))
    return ordered[:limit], len(ordered) > limit


def _sum(one: SalesCount, other: SalesCount) -> SalesCount:
    sales, units, cents = one.sales + other.sales, one.units + other.units, one.cents + other.cents
    return SalesCount(one.place, one.key, sales, units, cents)


def complete_from(parts: Iterable[PartialSales | PartialSnapshot]) -> int | None:
    """Return the event time from which the sales of all workers are known; None if no worker knows any."""
    return max((part.complete_from for part in parts if part.complete_from is not None), default=None)


def complete_through(parts: Iterable[PartialSales | PartialSnapshot]) -> int | None:
    """Return the event time up to which the sales of all workers are known; None if no worker knows any."""
    return min((part.complete_through for part in parts if part.complete_through is not None), default=None)


def is_complete(known_from: int | None, first: int) -> bool:
    """Return whether a window that begins at `first` is complete. `known_from`: see `complete_from`."""
    return known_from is None or known_from <= first


def merge_totals(parts: Iterable[PartialSnapshot]) -> Totals:
    """Return the sum of all totals."""
    totals = [msgspec.structs.astuple(part.totals) for part in parts]
    return Totals(*(sum(column) for column in zip(*totals, strict=True))) if totals else Totals()


def merge_products(parts: Iterable[PartialSnapshot], places: Mapping[str, int]) -> list[ProductLine]:
    """Return the products with the most sales; ties in catalog order, which is that of `places`."""
    lines = (line for part in parts for line in part.products)
    return sorted(lines, key=lambda line: (-line.sales, places[line.product_id]))[:MAX_PRODUCTS]


def merge_history(parts: Sequence[PartialSnapshot]) -> SalesHistory | None:
    """Return the sum of all histories; None unless all parts have one of the same minutes."""
    histories = [part.past for part in parts if part.past is not None]
    if not histories or len(histories) < len(parts) or len({each.through for each in histories}) > 1:
        return None
    windows = {name: _merge_window([each.windows[name] for each in histories]) for name in histories[0].windows}
    series: dict[str, list[tuple[int, int]]] = {}
    for each in histories:
        for category, minutes in each.series.items():
            so_far = series.get(category)
            series[category] = (
                minutes if so_far is None else [(a + c, b + d) for (a, b), (c, d) in zip(so_far, minutes, strict=True)]
            )
    return SalesHistory(histories[0].first, histories[0].through, windows, series)


def _merge_window(windows: Sequence[WindowSales]) -> WindowSales:
    categories: dict[str, Count] = {}
    for window in windows:
        for category, (sales, units, cents) in window.categories.items():
            so_far = categories.get(category, ZERO)
            categories[category] = (so_far[0] + sales, so_far[1] + units, so_far[2] + cents)
    return WindowSales(categories, best_sellers(row for window in windows for row in window.products))


def best_sellers(rows: Iterable[SalesCount]) -> list[SalesCount]:
    """Return the products with the most sales in a window; ties in catalog order."""
    return sorted(rows, key=lambda row: (-row.sales, row.place))[:MAX_BEST_SELLERS]


def latest(parts: Iterable[Sequence[dict[str, Any]]], key: str) -> list[dict[str, Any]]:
    """Return the latest messages of all, newest first; the field `key` breaks ties."""
    messages = (message for part in parts for message in part)
    return sorted(messages, key=lambda message: (message["event_time"], message[key]), reverse=True)[:MAX_LATEST]


def largest(values: Ints, most: int) -> Ints:
    """Return the indexes of the `most` largest values; ties go to lower indexes."""
    if len(values) <= most:
        return np.arange(len(values))
    least = np.partition(values, len(values) - most)[len(values) - most]
    above, equal = np.flatnonzero(values > least), np.flatnonzero(values == least)
    return np.concatenate([above, equal[: most - len(above)]])
