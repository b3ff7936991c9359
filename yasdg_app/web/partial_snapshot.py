"""A worker's part of the page; see snapshot.py, which combines those of all workers."""

import time
from functools import lru_cache

import numpy as np

from yasdg_app.aggregates.windows import WINDOWS
from yasdg_app.application import app, assortment, inventory, products_of, watch, windows
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.reference import amount
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incidents import Incident
from yasdg_app.shop.plan import Plan
from yasdg_app.web.partial_results import best_products, categories, known_partitions, level_or_initial
from yasdg_app.web.reconcile import MAX_LATEST, MAX_PRODUCTS, largest, latest
from yasdg_app.web.results import PartialSnapshot, ProductLine, SalesHistory, Totals, WindowSales
from yasdg_app.web.worker_state import claim, log_ends_cache, owned_partitions, worker_state

CHART_MINUTES = 180
UNITS_PER_SALE = (10 + 10 - app.shop.sales.quantity_one_freq) / 10
"""Mean units of a sale."""

MAX_CHART_CATEGORIES = 50  # more than anyone can tell apart
CHART_CATEGORIES = set(list(categories)[:MAX_CHART_CATEGORIES])


async def partial_snapshot(through: int | None) -> PartialSnapshot:
    """Return this worker's part of the page, with the sales history up to the event time `through`."""
    ends = await log_ends_cache.get()
    known_from = windows.complete_from()
    claimed, known = claim(), known_partitions(known_from)
    all_known = known.partitions == owned_partitions()
    has_history = through is not None and all_known and (known.until is None or through <= known.until)
    return PartialSnapshot(
        **claimed,
        complete_from=known.since,
        complete_through=known.until,
        state=worker_state(ends),
        totals=_totals(),
        products=_product_lines(),
        past=sales_history(through, claimed["generation"], tuple(known_from.items()))
        if through is not None and has_history
        else None,
        restocks=latest([windows.latest_restocks], "stocking_id")[:MAX_LATEST],
        lost_sales=latest([windows.latest_lost_sales], "lost_sale_id")[:MAX_LATEST],
    )


@lru_cache(maxsize=2)
def sales_history(through: int, generation: int, known_from: tuple[tuple[int, int], ...]) -> SalesHistory:
    """Return the sales before an event time, which stay the same within a generation.

    `generation` and `known_from` are only the key of the cache: the result depends on the partitions, and on from when
    each is known.
    """
    first = through - CHART_MINUTES * MINUTE
    found = {}
    for window in WINDOWS:
        counts = windows.by_category(window, through).items()
        charted = {key: count for key, count in counts if key in CHART_CATEGORIES}
        found[window] = WindowSales(charted, best_products(window, through))
    series = {
        category: [(sales, cents) for sales, _, cents in minutes]
        for category, minutes in windows.series(first, through).items()
        if category in CHART_CATEGORIES
    }
    return SalesHistory(first, through, found, series)


def _totals() -> Totals:
    names = ("sales", "sold", "revenue_cents", "stockings", "lost_sales")
    tables = [inventory.rows_of(partition) for partition in owned_partitions()]
    return Totals(*(sum(int(rows.column(name).sum()) for rows in tables) for name in names))


def _product_lines() -> list[ProductLine]:
    """Return the products with the most sales; all products, if they are few."""
    mine = owned_partitions()
    here = {partition: products_of[partition] for partition in mine}
    if sum(map(len, here.values())) <= MAX_PRODUCTS:
        shown = [product for products in here.values() for product in products]
    else:
        tables = [inventory.rows_of(partition) for partition in mine]
        sales = np.concatenate([rows.column("sales") for rows in tables])
        seats = np.concatenate([rows.seats() for rows in tables])
        homes = np.repeat(mine, list(map(len, tables)))
        best = largest(sales, MAX_PRODUCTS)
        shown = [here[home][seat] for home, seat in zip(homes[best].tolist(), seats[best].tolist(), strict=True)]
    rates = CustomerRates(watch.plan, app.opening.clock.at(time.time_ns() // 1000) // MINUTE)
    return [_product_line(level_or_initial(product.product_id), product.product_id, rates) for product in shown]


def _product_line(row: InventoryLevel, product_id: str, rates: "CustomerRates") -> ProductLine:
    product, rules = assortment[product_id], app.shop.inventory
    units_per_second = rates.of(product_id) * UNITS_PER_SALE
    return ProductLine(
        product_id,
        product.item,
        product.category,
        row.level,
        row.initial,
        rules.min_inventory,
        rules.restock_amount,
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

    def of(self, product_id: str) -> float:
        """Return the rate of a product."""
        affecting = tuple(each for each in self._incidents if each.concerns(assortment[product_id]))
        if affecting not in self._factors:
            factor = self._plan.factor(affecting, self._cell, 1)
            self._factors[affecting] = 1.0 if factor is None else float(factor[0])
        return self._plan.per_second[product_id] * self._activity * self._factors[affecting]
