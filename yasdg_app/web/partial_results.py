"""What this worker tells of its partitions: to others, at `/share/`, and to itself.

Each share is made in one go, with no await in between: all of it is of one moment and one generation. It has so many
rows at most, so that a catalog of a million products holds nobody up.
"""

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np

from yasdg_app.aggregates.windows import WINDOWS, Sums
from yasdg_app.application import app
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.reference import amount
from yasdg_app.pipeline.control_follower import watch
from yasdg_app.pipeline.inventory_agent import assortment, inventory, level_of, products_of, windows
from yasdg_app.shop.demand import MINUTE, Ints
from yasdg_app.shop.incidents import Incident
from yasdg_app.shop.plan import Plan
from yasdg_app.truth.offline_stream import FOREVER
from yasdg_app.web.health import LogEnds, delay_of, lag_of, log_ends, owned, reasons
from yasdg_app.web.query_params import BY, MOST
from yasdg_app.web.reconcile import (
    MOST_BEST,
    MOST_LATEST,
    MOST_PRODUCTS,
    Counted,
    LevelsShare,
    Line,
    LiveShare,
    Past,
    SalesShare,
    State,
    StateShare,
    Totals,
    Window,
    best_sellers,
    largest,
    latest,
)
from yasdg_app.web.responses import answer

SHOWN_MINUTES = 180  # of the chart
RATE_OVER = 10  # seconds
PATIENCE = 0.3  # seconds for which a share waits for the cluster to say where the logs end
FRESH = 5.0  # seconds for which what it said is of use
SALES_AT_ONCE = (10 + 10 - app.shop.sales.quantity_one_freq) / 10
"""Mean units of a sale."""

categories = {name: place for place, name in enumerate(dict.fromkeys(product.category for product in app.products))}
"""The place of each category among them, in the order of the catalog."""
CHARTED = set(list(categories)[:50])
"""Categories of the chart; a catalog of many has more than anybody could tell apart."""


# --- The state of the worker ---

_sold: deque[tuple[float, int]] = deque(maxlen=RATE_OVER + 1)  # time.monotonic(), and sales by then


@app.timer(1.0)
async def count_sales() -> None:
    """Remember how much was sold by now."""
    _sold.append((time.monotonic(), app.counts["sales"]))


def rate() -> float:
    """Return the number of sales a second over the last seconds."""
    if not _sold:
        return 0.0
    (since, before), now = _sold[0], time.monotonic()
    return (app.counts["sales"] - before) / (now - since) if now > since else 0.0


class Ends:
    """Where the logs end, as the cluster said it last: whoever asks does not wait for a cluster that is away."""

    def __init__(self) -> None:
        self._said: LogEnds | None = None
        self._asked = float("-inf")  # when that was asked, time.monotonic()
        self._asking: asyncio.Task[None] | None = None

    async def known(self) -> LogEnds | None:
        """Return them; None if the cluster has not said them lately."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        await asyncio.wait([self._asking], timeout=PATIENCE)
        return self._said if time.monotonic() - self._asked < FRESH else None

    async def _ask(self) -> None:
        asked = time.monotonic()
        said = await log_ends()
        if said is not None:
            self._said, self._asked = said, asked


ends = Ends()


def state(logs: LogEnds | None) -> State:
    """Return how this worker is. `logs`: where they end, None if that is not known."""
    why_not, tps = reasons(logs), owned()
    lag = None if logs is None else sum(lag_of(tp, logs) for tp in tps if tp in logs)
    behind = max((delay_of(tp.partition) for tp in tps), default=None)
    return State(not why_not, why_not, lag, round(rate(), 3), None if behind is None else round(behind, 3))


def _claim() -> dict[str, Any]:
    ownership = app.ownership
    if not ownership.settled:
        return {"generation": None, "partitions": []}
    return {"generation": ownership.generation, "partitions": ownership.partitions}


def _mine() -> list[int]:
    return app.ownership.partitions if app.ownership.settled else []


# --- What it has ---


async def state_share() -> StateShare:
    """Tell how this worker is."""
    logs = await ends.known()
    return StateShare(**_claim(), state=state(logs))


async def levels_share(limit: int, after: str | None) -> LevelsShare:
    """Tell the first rows of the table behind that of a product, one more than are shown."""
    place = _place(after)
    rows = [row for partition in _mine() for row in _rows(partition, place, limit + 1)]
    rows.sort(key=lambda row: row[0])
    return LevelsShare(**_claim(), rows=rows[: limit + 1])


def _place(after: str | None) -> int:
    """Return the place of a product in the catalog, and the one before the first of all where none is meant."""
    return -1 if after is None else assortment.places[after]


def _rows(partition: int, after: int, most: int) -> Iterable[tuple[int, dict[str, Any]]]:
    rows, here = inventory.rows_of(partition), products_of[partition]
    seats = rows.seats()
    for seat in seats[np.searchsorted(seats, _seat_behind(partition, after)) :][:most].tolist():
        yield assortment.places[here[seat].product_id], rows.get(seat).asdict()


async def level_share(product_id: str) -> LevelsShare:
    """Tell the row of a product; of one that was not sold yet, as it was when the shop opened."""
    place = assortment.places[product_id]
    mine = assortment.homes[place] in _mine()
    return LevelsShare(**_claim(), rows=[(place, _row(product_id).asdict())] if mine else [])


def _row(product_id: str) -> InventoryLevel:
    found = level_of(product_id)
    if found is not None:
        return found
    shelf = assortment[product_id].inventory
    return InventoryLevel(product_id, shelf, shelf, *(0,) * 6, last_sale="", offset=-1)


async def sales_share(window: str, by: str, through: int | None, limit: int, after: str | None) -> SalesShare:
    """Tell what was sold in a window that ends at an event time; None: only which times are known."""
    mine = _known(windows.products_from() if by == "product" else windows.complete_from())
    claim = _claim() | {"partitions": mine.partitions}
    if through is None:
        return SalesShare(**claim, complete_from=mine.since, complete_through=mine.until, rows=[])
    if by == "product":
        rows = [row for row in by_product(window, through, limit + 1, after) if _home(row) in mine.partitions]
    else:
        sums = windows.by_category(window, through).items()
        rows = [Counted(categories[key], key, *count) for key, count in sums]
        rows = [row for row in rows if after is None or row.place > categories[after]]
    rows = sorted(rows, key=attrgetter("place"))[: limit + 1]
    return SalesShare(**claim, complete_from=mine.since, complete_through=mine.until, rows=rows)


def _home(row: Counted) -> int:
    return assortment.homes[row.place]


class Known(NamedTuple):
    """Partitions of ours whose sales over time are known, and between which event times; None: none has products."""

    partitions: list[int]
    since: int | None
    until: int | None


def _known(since: Mapping[int, int]) -> Known:
    until = windows.complete_through()
    known = [each for each in _mine() if not products_of[each] or (each in since and each in until)]
    selling = [each for each in known if products_of[each]]
    return Known(
        known,
        max((since[each] for each in selling), default=None),
        min((until[each] for each in selling), default=None),
    )


def by_product(window: str, through: int, most: int, after: str | None) -> list[Counted]:
    """Return what was sold in a window of the first products behind one, so many of each partition at most."""
    place = _place(after)

    def first(partition: int, seats: Ints, sums: Ints) -> Ints:
        begin = int(np.searchsorted(seats, _seat_behind(partition, place)))
        return np.arange(begin, min(begin + most, len(seats)))

    return _counted(windows.sums(window, through, first))


def best_products(window: str, through: int) -> list[Counted]:
    """Return what was sold in a window of the best sellers."""
    return best_sellers(_counted(windows.sums(window, through, lambda _, seats, sums: largest(sums[0], MOST_BEST))))


def _counted(sums: Mapping[str, Sums]) -> list[Counted]:
    return [Counted(assortment.places[key], key, *count) for key, count in sums.items()]


def _seat_behind(partition: int, place: int) -> int:
    """Return the seat of the first product of a partition that stands behind a place in the catalog."""
    places = assortment.places
    return bisect_right(products_of[partition], place, key=lambda product: places[product.product_id])


# --- What the page shows ---


async def live_share(through: int | None) -> LiveShare:
    """Tell what the page shows of our part; of the past, what ends at an event time."""
    logs = await ends.known()
    known_from = windows.complete_from()
    claim, known = _claim(), _known(known_from)
    is_past = through is not None and known.partitions == _mine() and (known.until is None or through <= known.until)
    return LiveShare(
        **claim,
        complete_from=known.since,
        complete_through=known.until,
        state=state(logs),
        totals=_totals(),
        products=_lines(),
        past=past(through, claim["generation"], tuple(known_from.items())) if through is not None and is_past else None,
        restocks=latest([windows.latest_restocks], "stocking_id")[:MOST_LATEST],
        lost_sales=latest([windows.latest_lost_sales], "lost_sale_id")[:MOST_LATEST],
    )


@lru_cache(maxsize=2)
def past(through: int, generation: int, known_from: tuple[tuple[int, int], ...]) -> Past:
    """Return what was sold before an event time: the same while the partitions are, and what is known of each."""
    first = through - SHOWN_MINUTES * MINUTE
    found = {}
    for window in WINDOWS:
        in_all = {key: count for key, count in windows.by_category(window, through).items() if key in CHARTED}
        found[window] = Window(in_all, best_products(window, through))
    series = {
        category: [(sales, cents) for sales, _, cents in minutes]
        for category, minutes in windows.series(first, through).items()
        if category in CHARTED
    }
    return Past(first, through, found, series)


def _totals() -> Totals:
    names = ("sales", "sold", "revenue_cents", "stockings", "lost_sales")
    tables = [inventory.rows_of(partition) for partition in _mine()]
    return Totals(*(sum(int(rows.column(name).sum()) for rows in tables) for name in names))


def _lines() -> list[Line]:
    """Return the products with the highest sales; where there are few, those without a sale as well."""
    mine = _mine()
    here = {partition: products_of[partition] for partition in mine}
    if sum(map(len, here.values())) <= MOST_PRODUCTS:
        shown = [product for products in here.values() for product in products]
    else:
        tables = [inventory.rows_of(partition) for partition in mine]
        sales = np.concatenate([rows.column("sales") for rows in tables])
        seats = np.concatenate([rows.seats() for rows in tables])
        homes = np.repeat(mine, list(map(len, tables)))
        best = largest(sales, MOST_PRODUCTS)
        shown = [here[home][seat] for home, seat in zip(homes[best].tolist(), seats[best].tolist(), strict=True)]
    per_second = Rates(watch.plan, app.opening.clock.at(time.time_ns() // 1000) // MINUTE)
    return [_line(_row(product.product_id), product.product_id, per_second) for product in shown]


def _line(row: InventoryLevel, product_id: str, rates: "Rates") -> Line:
    product, rules = assortment[product_id], app.shop.inventory
    units = rates.of(product_id) * SALES_AT_ONCE
    return Line(
        product_id,
        product.item,
        product.category,
        row.level,
        row.initial,
        rules.min_inventory,
        rules.restock_amount,
        row.on_order,
        row.promised or None,
        round(row.level / units, 1) if units else None,
        row.sales,
        row.sold,
        amount(row.revenue_cents),
        row.lost_sales,
    )


class Rates:
    """How many customers are expected to ask for products in a second, in one minute of event time."""

    def __init__(self, plan: Plan, minute: int) -> None:
        cell = plan.cells.of(minute * MINUTE)
        self._plan, self._cell = plan, cell
        self._activity = float(plan.activity(cell, 1)[0])
        self._here = plan.during(cell, 1)
        self._factors: dict[tuple[Incident, ...], float] = {}

    def of(self, product_id: str) -> float:
        """Return that of a product."""
        concern = tuple(each for each in self._here if each.concerns(assortment[product_id]))
        if concern not in self._factors:
            factor = self._plan.factor(concern, self._cell, 1)
            self._factors[concern] = 1.0 if factor is None else float(factor[0])
        return self._plan.per_second[product_id] * self._activity * self._factors[concern]


# --- Who asks ---


async def share_of(query: Mapping[str, str]) -> Any:
    """Return what another worker asks for. Raises KeyError or ValueError if that is nothing that workers ask for."""
    number = {name: int(query[name]) for name in ("through", "limit") if name in query}
    through, after = number.get("through"), query.get("after")
    if not (0 <= number.get("through", 0) <= FOREVER and 0 <= number.get("limit", 0) <= MOST):
        raise ValueError
    if number.get("through", 0) % MINUTE:
        raise ValueError
    match query.get("what"):
        case "state":
            return await state_share()
        case "level":
            return await level_share(query["product_id"])
        case "levels":
            return await levels_share(number["limit"], after or None)
        case "sales" if query["window"] in WINDOWS and query["by"] in BY:
            # A worker of the version before sends an empty one where it means none.
            after = after or (None if query["by"] == "product" or "" not in categories else after)
            return await sales_share(query["window"], query["by"], through, number["limit"], after)
        case "live":
            return await live_share(through)
        case _:
            raise KeyError("what")


@app.page("/share/")
async def share(web: Any, request: Any) -> Any:
    """Tell another worker of our part."""
    if not hasattr(app, "opening"):
        return answer({"error": "the shop is not open yet, ask again in a moment"}, 503)
    try:
        return answer(msgspec.to_builtins(await share_of(request.query)))
    except (KeyError, ValueError):
        return answer({"error": "what: expected what workers ask each other for"}, 400)
