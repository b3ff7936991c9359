"""A worker's part of the views: rows of the inventory table, and sales of a window.

Each result is built without an await in between, so all of it is of one moment and one generation. Its number of rows
is limited, so a catalog of a million products does not block the event loop.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from yasdg_app.aggregates.windows import Sums
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.shop.demand import Ints
from yasdg_app.web.reconcile import MAX_BEST_SELLERS, best_sellers, largest
from yasdg_app.web.results import PartialLevels, PartialSales, SalesCount
from yasdg_app.web.worker_state import StateReporter


class KnownSales(NamedTuple):
    """Owned partitions whose sales are known, and the event times between which they are; None: no products."""

    partitions: list[int]
    since: int | None
    until: int | None


class PartialResults:
    """What this worker contributes to the views.

    Parameters
    ----------
    pipeline
        The parts of the worker.
    state
        The partitions that the worker answers for.

    Attributes
    ----------
    categories
        The position of each category, in catalog order.
    """

    def __init__(self, pipeline: Pipeline, state: StateReporter) -> None:
        names = dict.fromkeys(product.category for product in pipeline.shop.products)
        self.categories = {name: index for index, name in enumerate(names)}
        self._catalog = pipeline.catalog
        self._inventory = pipeline.inventory
        self._windows = pipeline.windows
        self._state = state

    # --- Inventory ---

    async def levels(self, limit: int, after: str | None) -> PartialLevels:
        """Return the first rows of the table after a product, one more than `limit`."""
        index = self._index_of(after)
        owned = self._state.owned_partitions()
        rows = [row for partition in owned for row in self._rows_after(partition, index, limit + 1)]
        rows.sort(key=lambda row: row[0])
        return PartialLevels(**self._state.claim(), rows=rows[: limit + 1])

    def _rows_after(self, partition: int, index: int, max_rows: int) -> Iterable[tuple[int, dict[str, Any]]]:
        store, products = self._inventory.store_of(partition), self._catalog.products_in(partition)
        local_indexes = store.local_indexes()
        first = np.searchsorted(local_indexes, self._local_index_after(partition, index))
        for local_index in local_indexes[first:][:max_rows].tolist():
            row = store.get(local_index)
            assert row is not None
            yield self._catalog.indexes[products[local_index].product_id], row.asdict()

    async def level(self, product_id: str) -> PartialLevels:
        """Return the row of a product; of a product without sales, its state when the shop opened."""
        index = self._catalog.indexes[product_id]
        is_owned = self._catalog.partitions[index] in self._state.owned_partitions()
        rows = [(index, self.level_or_initial(product_id).asdict())] if is_owned else []
        return PartialLevels(**self._state.claim(), rows=rows)

    def level_or_initial(self, product_id: str) -> InventoryLevel:
        """Return the row of a product; of a product without sales, its state when the shop opened."""
        found = self._inventory.level_of(product_id)
        if found is not None:
            return found
        initial = self._catalog[product_id].inventory
        return InventoryLevel(product_id, initial, initial, *(0,) * 6, last_sale="", offset=-1)

    # --- Sales ---

    async def sales(self, window: str, by: str, through: int | None, limit: int, after: str | None) -> PartialSales:
        """Return the sales of a window that ends at an event time, at most `limit` + 1 rows.

        `through` None: return only the event times between which sales are known.
        """
        windows = self._windows
        known = self.known_sales(windows.products_from() if by == "product" else windows.complete_from())
        claim = self._state.claim() | {"partitions": known.partitions}
        if through is None:
            return PartialSales(**claim, complete_from=known.since, complete_through=known.until, rows=[])
        if by == "product":
            rows = self._by_product(window, through, limit + 1, after)
            rows = [row for row in rows if self._catalog.partitions[row.place] in known.partitions]
        else:
            sums = windows.by_category(window, through).items()
            rows = [SalesCount(self.categories[key], key, *count) for key, count in sums]
            rows = [row for row in rows if after is None or row.place > self.categories[after]]
        rows = sorted(rows, key=attrgetter("place"))[: limit + 1]
        return PartialSales(**claim, complete_from=known.since, complete_through=known.until, rows=rows)

    def known_sales(self, since: Mapping[int, int]) -> KnownSales:
        """Return the owned partitions whose sales are known. `since`: from which event time, by partition."""
        until, products_in = self._windows.complete_through(), self._catalog.products_in
        owned = self._state.owned_partitions()
        known = [each for each in owned if not products_in(each) or (each in since and each in until)]
        selling = [each for each in known if products_in(each)]
        return KnownSales(
            known,
            max((since[each] for each in selling), default=None),
            min((until[each] for each in selling), default=None),
        )

    def _by_product(self, window: str, through: int, most: int, after: str | None) -> list[SalesCount]:
        """Return the sales of a window by product, at most `most` products per partition, those after `after`."""
        index = self._index_of(after)

        def first(partition: int, local_indexes: Ints, sums: Ints) -> Ints:
            begin = int(np.searchsorted(local_indexes, self._local_index_after(partition, index)))
            return np.arange(begin, min(begin + most, len(local_indexes)))

        return self._counts(self._windows.sums(window, through, first))

    def best_products(self, window: str, through: int) -> list[SalesCount]:
        """Return the best sellers of a window."""
        sums = self._windows.sums(window, through, lambda _, local_indexes, sums: largest(sums[0], MAX_BEST_SELLERS))
        return best_sellers(self._counts(sums))

    def _counts(self, sums: Mapping[str, Sums]) -> list[SalesCount]:
        return [SalesCount(self._catalog.indexes[key], key, *count) for key, count in sums.items()]

    # --- Positions in the catalog ---

    def _index_of(self, after: str | None) -> int:
        """Return the position of a product in the catalog; -1, which is before all, for None."""
        return -1 if after is None else self._catalog.indexes[after]

    def _local_index_after(self, partition: int, index: int) -> int:
        """Return the index within a partition of its first product after a position in the catalog."""
        indexes = self._catalog.indexes
        products = self._catalog.products_in(partition)
        return bisect_right(products, index, key=lambda product: indexes[product.product_id])
