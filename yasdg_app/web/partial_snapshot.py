"""A worker's part of the page; see snapshot.py, which combines those of all workers."""

import time
from functools import lru_cache

import numpy as np

from yasdg_app.aggregates.windows import WINDOW_MINUTES
from yasdg_app.config.catalog import Product
from yasdg_app.messages.reference import amount
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Plan
from yasdg_app.web.partial_results import PartialResults
from yasdg_app.web.reconcile import MAX_LATEST, MAX_PRODUCTS, largest, latest
from yasdg_app.web.results import PartialSnapshot, ProductLine, SalesHistory, Totals, WindowSales
from yasdg_app.web.worker_state import StateReporter

CHART_MINUTES = 180
MAX_CHART_CATEGORIES = 50  # more than anyone can tell apart


class PartialSnapshots:
    """What this worker contributes to the page.

    Parameters
    ----------
    pipeline
        The parts of the worker.
    state, results
        The worker's state, and its part of the views.
    """

    def __init__(self, pipeline: Pipeline, state: StateReporter, results: PartialResults) -> None:
        self._pipeline = pipeline
        self._state = state
        self._results = results
        self._chart_categories = set(list(results.categories)[:MAX_CHART_CATEGORIES])
        # The history stays the same within a generation: it depends on the partitions, and on from when each is known.
        self._history = lru_cache(maxsize=2)(self._sales_history)

    async def snapshot(self, through: int | None) -> PartialSnapshot:
        """Return this worker's part of the page, with the sales history up to the event time `through`."""
        ends = await self._state.log_ends()
        windows = self._pipeline.windows
        known_from = windows.complete_from()
        claim, known = self._state.claim(), self._results.known_sales(known_from)
        past = None
        all_known = known.partitions == self._state.owned_partitions()
        if through is not None and all_known and (known.until is None or through <= known.until):
            past = self._history(through, claim["generation"], tuple(known_from.items()))
        return PartialSnapshot(
            **claim,
            complete_from=known.since,
            complete_through=known.until,
            state=self._state.state(ends),
            totals=self._totals(),
            products=self._product_lines(),
            past=past,
            restocks=latest([windows.latest_restocks], "stocking_id")[:MAX_LATEST],
            lost_sales=latest([windows.latest_lost_sales], "lost_sale_id")[:MAX_LATEST],
        )

    def _sales_history(
        self, through: int, generation: int | None, known_from: tuple[tuple[int, int], ...]
    ) -> SalesHistory:
        """Return the sales before an event time. `generation` and `known_from` are only the key of the cache."""
        first, windows = through - CHART_MINUTES * MINUTE, self._pipeline.windows
        found = {}
        for window in WINDOW_MINUTES:
            counts = windows.by_category(window, through).items()
            charted = {key: count for key, count in counts if key in self._chart_categories}
            found[window] = WindowSales(charted, self._results.best_products(window, through))
        series = {
            category: [(sales, cents) for sales, _, cents in minutes]
            for category, minutes in windows.series(first, through).items()
            if category in self._chart_categories
        }
        return SalesHistory(first, through, found, series)

    def _totals(self) -> Totals:
        names = ("sales", "sold", "revenue_cents", "stockings", "lost_sales")
        stores = [self._pipeline.inventory.store_of(partition) for partition in self._state.owned_partitions()]
        return Totals(*(sum(int(store.column(name).sum()) for store in stores) for name in names))

    def _product_lines(self) -> list[ProductLine]:
        """Return the products with the most sales; all products, if they are few."""
        pipeline, owned = self._pipeline, self._state.owned_partitions()
        products = {partition: pipeline.catalog.products_in(partition) for partition in owned}
        if sum(map(len, products.values())) <= MAX_PRODUCTS:
            shown = [product for each in products.values() for product in each]
        else:
            stores = [pipeline.inventory.store_of(partition) for partition in owned]
            sales = np.concatenate([store.column("sales") for store in stores])
            local_indexes = np.concatenate([store.local_indexes() for store in stores])
            partitions = np.repeat(owned, list(map(len, stores)))
            best = largest(sales, MAX_PRODUCTS)
            where = zip(partitions[best].tolist(), local_indexes[best].tolist(), strict=True)
            shown = [products[partition][local_index] for partition, local_index in where]
        event_time = pipeline.shop.clock.at(time.time_ns() // 1000)
        rates = CustomerRates(pipeline.follower.plan, event_time // MINUTE)
        return [self._product_line(product, rates) for product in shown]

    def _product_line(self, product: Product, rates: "CustomerRates") -> ProductLine:
        settings, row = self._pipeline.shop.settings, self._results.level_or_initial(product.product_id)
        units_per_second = rates.of(product) * settings.sales.mean_quantity
        return ProductLine(
            product.product_id,
            product.item,
            product.category,
            row.level,
            row.initial,
            settings.inventory.min_inventory,
            settings.inventory.restock_amount,
            row.on_order,
            row.promised or None,
            round(row.level / units_per_second, 1) if units_per_second else None,
            row.sales,
            row.sold,
            amount(row.revenue_cents),
            row.lost_sales,
        )


class CustomerRates:
    """The expected number of customers per second for each product, in one minute of event time."""

    def __init__(self, plan: Plan, minute: int) -> None:
        cell = plan.grid.cell_at(minute * MINUTE)
        self._plan, self._cell = plan, cell
        self._activity = float(plan.activity(cell, 1)[0])
        self._incidents = plan.during(cell, 1)
        self._factors: dict[tuple[Incident, ...], float] = {}

    def of(self, product: Product) -> float:
        """Return the rate of a product."""
        affecting = tuple(each for each in self._incidents if each.concerns(product))
        if affecting not in self._factors:
            factor = self._plan.factor(affecting, self._cell, 1)
            self._factors[affecting] = 1.0 if factor is None else float(factor[0])
        return self._plan.per_second[product.product_id] * self._activity * self._factors[affecting]
