"""A worker's part of the views: its state, rows of the inventory table, and sales of a window.

Each result is built without an await in between, so all of it is of one moment and one generation. Its number of rows
is limited, so a catalog of a million products does not block the event loop.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from yasdg_app.aggregates.windows import Sums
from yasdg_app.application import app, assortment, inventory, level_of, products_of, windows
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.shop.demand import Ints
from yasdg_app.web.reconcile import MAX_BEST_SELLERS, best_sellers, largest
from yasdg_app.web.results import PartialLevels, PartialSales, PartialState, SalesCount
from yasdg_app.web.worker_state import claim, log_ends_cache, owned_partitions, worker_state

categories = {name: place for place, name in enumerate(dict.fromkeys(product.category for product in app.products))}
"""The position of each category, in catalog order."""


async def partial_state() -> PartialState:
    """Return the state of this worker."""
    ends = await log_ends_cache.get()
    return PartialState(**claim(), state=worker_state(ends))


async def partial_levels(limit: int, after: str | None) -> PartialLevels:
    """Return the first rows of the table after a product, one more than `limit`."""
    place = place_of(after)
    rows = [row for partition in owned_partitions() for row in _rows_after(partition, place, limit + 1)]
    rows.sort(key=lambda row: row[0])
    return PartialLevels(**claim(), rows=rows[: limit + 1])


def place_of(after: str | None) -> int:
    """Return the position of a product in the catalog; -1, which is before all, for None."""
    return -1 if after is None else assortment.places[after]


def _rows_after(partition: int, place: int, most: int) -> Iterable[tuple[int, dict[str, Any]]]:
    rows, products = inventory.rows_of(partition), products_of[partition]
    seats = rows.seats()
    for seat in seats[np.searchsorted(seats, _seat_after(partition, place)) :][:most].tolist():
        yield assortment.places[products[seat].product_id], rows.get(seat).asdict()


async def partial_level(product_id: str) -> PartialLevels:
    """Return the row of a product; of a product without sales, its state when the shop opened."""
    place = assortment.places[product_id]
    is_owned = assortment.homes[place] in owned_partitions()
    return PartialLevels(**claim(), rows=[(place, level_or_initial(product_id).asdict())] if is_owned else [])


def level_or_initial(product_id: str) -> InventoryLevel:
    """Return the row of a product; of a product without sales, its state when the shop opened."""
    found = level_of(product_id)
    if found is not None:
        return found
    shelf = assortment[product_id].inventory
    return InventoryLevel(product_id, shelf, shelf, *(0,) * 6, last_sale="", offset=-1)


async def partial_sales(window: str, by: str, through: int | None, limit: int, after: str | None) -> PartialSales:
    """Return the sales of a window that ends at an event time, at most `limit` + 1 rows.

    `through` None: return only the event times between which sales are known.
    """
    mine = known_partitions(windows.products_from() if by == "product" else windows.complete_from())
    claimed = claim() | {"partitions": mine.partitions}
    if through is None:
        return PartialSales(**claimed, complete_from=mine.since, complete_through=mine.until, rows=[])
    if by == "product":
        rows = [row for row in by_product(window, through, limit + 1, after) if _home(row) in mine.partitions]
    else:
        sums = windows.by_category(window, through).items()
        rows = [SalesCount(categories[key], key, *count) for key, count in sums]
        rows = [row for row in rows if after is None or row.place > categories[after]]
    rows = sorted(rows, key=attrgetter("place"))[: limit + 1]
    return PartialSales(**claimed, complete_from=mine.since, complete_through=mine.until, rows=rows)


def _home(row: SalesCount) -> int:
    return assortment.homes[row.place]


class KnownSales(NamedTuple):
    """Owned partitions whose sales are known, and the event times between which they are; None: no products."""

    partitions: list[int]
    since: int | None
    until: int | None


def known_partitions(since: Mapping[int, int]) -> KnownSales:
    """Return the owned partitions whose sales are known. `since`: from which event time, by partition."""
    until = windows.complete_through()
    known = [each for each in owned_partitions() if not products_of[each] or (each in since and each in until)]
    selling = [each for each in known if products_of[each]]
    return KnownSales(
        known,
        max((since[each] for each in selling), default=None),
        min((until[each] for each in selling), default=None),
    )


def by_product(window: str, through: int, most: int, after: str | None) -> list[SalesCount]:
    """Return the sales of a window by product, at most `most` products per partition, those after `after`."""
    place = place_of(after)

    def first(partition: int, seats: Ints, sums: Ints) -> Ints:
        begin = int(np.searchsorted(seats, _seat_after(partition, place)))
        return np.arange(begin, min(begin + most, len(seats)))

    return _counts(windows.sums(window, through, first))


def best_products(window: str, through: int) -> list[SalesCount]:
    """Return the best sellers of a window."""
    sums = windows.sums(window, through, lambda _, seats, sums: largest(sums[0], MAX_BEST_SELLERS))
    return best_sellers(_counts(sums))


def _counts(sums: Mapping[str, Sums]) -> list[SalesCount]:
    return [SalesCount(assortment.places[key], key, *count) for key, count in sums.items()]


def _seat_after(partition: int, place: int) -> int:
    """Return the index within a partition of its first product after a position in the catalog."""
    places = assortment.places
    return bisect_right(products_of[partition], place, key=lambda product: places[product.product_id])
