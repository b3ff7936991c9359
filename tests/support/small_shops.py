"""Small shops for property tests: settings of every kind, and what their tills produce in a comparable form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from faust.types import TP
from hypothesis import strategies as st

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import (
    ALWAYS,
    ClockSettings,
    HoursSettings,
    IncidentSettings,
    InventorySettings,
    SalesSettings,
    Settings,
    SupplierSettings,
    VolumeSettings,
)
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import InventoryProjection
from yasdg_app.inventory.row_updates import shelf_of
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import event_time
from yasdg_app.shop.arrivals import ArrivalProcess
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sales import NO_PRODUCT, STREAM_START, EventCursor, LostSale, Sales, SalesBatch
from yasdg_app.shop.shelf import Shelf
from yasdg_app.shop.till import ResumePoint, Till

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
OPENED = 1_709_285_025_123_456  # Friday 2024-03-01, 09:23:45.123456 UTC
PARTITION = 0


def product(product_id: str, category: str, weight: int = 1, inventory: int = 20) -> Product:
    return Product(product_id, category, "Item", "20 oz.", 500, 150, inventory, *(False,) * 4, 1, weight, 0)


PRODUCTS = (
    product("SF02", "Superfoods", 2, 12),
    product("CS02", "Classics", 3, 9),
    product("CS01", "Classics", 1, 2),  # not in order of id
    product("CS03", "Classics", 2, 30),
    product("SF01", "Superfoods", 1, 4),
    product("XX01", "Alone", 2, 7),
)
IDS = [each.product_id for each in PRODUCTS]
BY_ID = {each.product_id: each for each in PRODUCTS}


def wall(at: int) -> datetime:
    """Return the time that a clock in UTC shows at an event time."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).replace(tzinfo=None)


# --- Settings of every kind -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A shop, and the length of its simulation."""

    settings: Settings
    until: int

    @cached_property
    def plan(self) -> Plan:
        return Plan.of(self.settings, PRODUCTS, OPENED)

    def till(self, ids: Iterable[str] = IDS, start: ResumePoint | None = None) -> Till:
        return Till(self.plan, [BY_ID[each] for each in ids], start)

    def whole(self, ids: Iterable[str] = IDS) -> "Told":
        """Return everything that is produced for some products."""
        return serve(self.till(ids), self.until)


def world_of(settings: Settings, length: int) -> World:
    return World(settings, OPENED + length)


PACES = ((600.0, 9 * DAY), (40.0, 14 * HOUR), (3.0, HOUR), (0.01, 15 * SECOND))
"""Mean seconds between two sales, and a length of time: weeks, a day, an hour, and cells of less than a minute."""


def spans() -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
    return st.sampled_from(
        [ALWAYS, ((0, 600), (615, 1300)), ((570, 575), (580, 1440)), ((300, 720), (780, 1380)), ((540, 1560),)]
    )


def hours() -> st.SearchStrategy[HoursSettings]:
    by_day = st.lists(spans(), min_size=7, max_size=7).map(_without_overlap)
    return st.just(HoursSettings()) | st.builds(
        HoursSettings, week=by_day, dates=st.sampled_from([(), ((wall(OPENED + 2 * DAY).date(), ()),)])
    )


def _without_overlap(week: list[Any]) -> tuple[Any, ...]:
    for day in range(7):
        following = (day + 1) % 7
        if week[day][-1][1] - 1440 > week[following][0][0]:
            week[day] = ALWAYS
    return tuple(week)


def volumes() -> st.SearchStrategy[VolumeSettings]:
    curve = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=24, max_size=24).map(lambda day: (1.0, *day[1:]))
    return st.just(VolumeSettings()) | st.builds(
        VolumeSettings,
        week=curve.map(lambda day: (tuple(day),) * 7),
        months=st.sampled_from([(1.0,) * 12, (0.5, 1.0, 1.5) * 4]),
        growth=st.sampled_from([0.0, 0.3, -0.2]),
    )


def suppliers(name: str = "", categories: tuple[str, ...] = ()) -> st.SearchStrategy[SupplierSettings]:
    lead_times = st.sampled_from(
        [(0, 0, 0), (60, 60, 60), (5, 5, 5), (0, 60, 900), (600, 900, 7200), (3600, 3600, 40_000)]
    )
    return st.builds(
        SupplierSettings,
        name=st.just(name),
        categories=st.just(categories),
        lead_time=lead_times.map(lambda seconds: tuple(timedelta(seconds=each) for each in seconds)),
        delivery_days=st.sampled_from([tuple(range(7)), tuple(range(7)), (4,), (0, 2, 5)]),
        partial_freq=st.sampled_from([0, 5, 10]),
    )


def incidents(length: int) -> st.SearchStrategy[tuple[IncidentSettings, ...]]:
    scopes = st.sampled_from([{}, {"categories": ("Classics",)}, {"products": ("SF01", "CS02")}])

    def one(name: str) -> st.SearchStrategy[IncidentSettings]:
        minutes = max(length // MINUTE, 10)
        return st.builds(
            lambda scope, what, start, every, duration, ramps: IncidentSettings(
                name, what[0], factor=what[1], discount=what[2], **scope,
                start=None if every else wall((OPENED // MINUTE + start) * MINUTE),
                every=timedelta(minutes=every) if every else None,
                duration=timedelta(minutes=duration), ramp_up=timedelta(minutes=ramps[0]),
                ramp_down=timedelta(minutes=ramps[1]),
            ),
            scopes,
            st.sampled_from(
                [("storm", 0.3, Decimal(0)), ("promotion", 2.5, Decimal("0.15")), ("supply", 0.0, Decimal(0)),
                 ("supply", 0.25, Decimal(0)), ("power_outage", 0.0, Decimal(0)), ("custom", 1.0, Decimal("0.3333"))]
            ),
            st.integers(-5, minutes),
            st.sampled_from([0, 0, minutes // 3 + 1]),
            st.integers(1, max(minutes // 2, 2)),
            st.tuples(st.integers(0, 40), st.integers(0, 40)),
        )  # fmt: skip

    return st.tuples(*(one(name) for name in ("one", "two", "three"))).flatmap(
        lambda three: st.integers(0, 3).map(lambda count: three[:count])
    )


ANY_QUANTITIES = st.sampled_from([(), (), (1,), (8, 1, 1), (0, 3, 0, 2), (12, 4, 3, 2, 1, 1, 1, 2)])
ANY_SUBSTITUTION = st.sampled_from([0, 0, 5, 10])


@st.composite
def worlds(
    draw: st.DrawFn,
    substitution: st.SearchStrategy[int] = ANY_SUBSTITUTION,
    supply: st.SearchStrategy[SupplierSettings] | None = None,
    with_incidents: bool = True,
    quantities: st.SearchStrategy[tuple[int, ...]] = ANY_QUANTITIES,
) -> World:
    """Draw a shop; with large quantities, products that begin with less stock than `check_products` demands, too."""
    mean, length = draw(st.sampled_from(PACES))
    weights = draw(quantities)
    least = max(len(weights), 2)
    settings = Settings(
        sales=SalesSettings(
            seed=draw(st.integers(0, 2**64 - 1)), min_sale_freq=0.0, max_sale_freq=2 * mean,
            quantity_one_freq=draw(st.sampled_from([2, 8])), quantities=weights, substitution_freq=draw(substitution),
        ),
        inventory=InventorySettings(draw(st.integers(least - 1, 12)), draw(st.integers(least, 25))),
        clock=ClockSettings(time_zone=draw(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))),
        hours=draw(hours()),
        volume=draw(volumes()),
        supply=draw(suppliers() if supply is None else supply),
        suppliers=(draw(suppliers("other", ("Superfoods",))),) if supply is None and draw(st.booleans()) else (),
        incidents=draw(incidents(length)) if with_incidents else (),
    )  # fmt: skip
    return world_of(settings, length)


AT_ONCE = st.just(SupplierSettings())
SLOW = suppliers().filter(lambda supplier: any(supplier.lead_time))


def parts() -> st.SearchStrategy[list[tuple[str, ...]]]:
    """Draw ids of the products, distributed over partitions, of which at least one has some."""
    return st.lists(st.integers(0, 2), min_size=len(IDS), max_size=len(IDS)).map(
        lambda partitions: [
            own
            for partition in range(3)
            if (
                own := tuple(
                    each for each, own_partition in zip(IDS, partitions, strict=True) if own_partition == partition
                )
            )
        ]
    )


# --- Output of tills ------------------------------------------------------------------------------------------------


class Sale(NamedTuple):
    at: int
    asked: str
    product_id: str
    number: int
    option: int
    promotion: int

    @property
    def quantity(self) -> int:
        return (self.option >> 2) + 1

    @property
    def place(self) -> EventCursor:
        return EventCursor(self.at, self.asked)


class Lost(NamedTuple):
    at: int
    product_id: str
    number: int
    option: int
    promotion: int
    level: int
    promised: int
    delayed_by: str | None
    substitute: str | None

    @property
    def quantity(self) -> int:
        return (self.option >> 2) + 1

    @property
    def place(self) -> EventCursor:
        return EventCursor(self.at, self.product_id)


@dataclass(frozen=True)
class Told:
    """What a till produced, in order."""

    sales: list[Sale]
    lost: list[Lost]

    def __add__(self, other: "Told") -> "Told":
        return Told(self.sales + other.sales, self.lost + other.lost)

    def in_order(self) -> "Told":
        return Told(sorted(self.sales), sorted(self.lost))

    def of(self, ids: Iterable[str]) -> "Told":
        return Told(*([row for row in rows if row.product_id in ids] for rows in (self.sales, self.lost)))


def told(till: Till, served: SalesBatch) -> Told:
    ids = [each.product_id for each in till.products]
    columns = (getattr(served.sales, name).tolist() for name in ("product", "number", "at", "option", "promotion"))
    sales = [
        Sale(at, ids[place if other == NO_PRODUCT else other], ids[place], number, way, promotion)
        for place, number, at, way, promotion, other in zip(
            *columns, served.sales.requested_product.tolist(), strict=True
        )
    ]
    lost = [
        Lost(
            one.at, ids[one.product], one.number, one.option, one.promotion, one.level, one.promised, one.delayed_by,
            None if one.substitute == NO_PRODUCT else ids[one.substitute],
        )
        for one in served.lost
    ]  # fmt: skip
    return Told(sales, lost)


def blocks(till: Till, until: int) -> Iterable[Told]:
    while till.watermark < until:
        yield told(till, till.generate_until(until))


def serve(till: Till, until: int) -> Told:
    return sum(blocks(till, until), Told([], []))


def arrivals(plan: Plan, until: int) -> list[tuple[int, str, int]]:
    """Return time, product and way to buy of all customers, whether they buy or not; in order."""
    came = []
    first, last = plan.grid.cell_at(plan.opened_at), plan.grid.cell_at(until)
    activity = plan.activity(first, last - first + 1)
    for each in plan.products:
        process = ArrivalProcess(plan, [each])
        customers = process.arrivals(plan, first, activity)
        ways = process.behaviour.options(customers).tolist()
        came += [
            (at, each.product_id, way)
            for at, way in zip(customers.at.tolist(), ways, strict=True)
            if plan.opened_at <= at <= until
        ]
    return sorted(came)


# --- Logs and the table ---------------------------------------------------------------------------------------------


PURCHASES, LOST_SALES = TP("purchases", PARTITION), TP("lost_sales", PARTITION)
PROJECTION = InventoryProjection(PartitionedCatalog(PRODUCTS, [PARTITION] * len(PRODUCTS)))


def encoded(till: Till, told: Told) -> tuple[list[bytes], list[bytes]]:
    """Return the messages for sales, and for lost sales."""
    places = {each.product_id: place for place, each in enumerate(till.products)}
    asked = [NO_PRODUCT if sale.asked == sale.product_id else places[sale.asked] for sale in told.sales]
    rows = [
        (places[sale.product_id], sale.number, sale.at, sale.option, sale.promotion, other)
        for sale, other in zip(told.sales, asked, strict=True)
    ]
    lost = [
        LostSale(
            places[one.product_id], one.number, one.at, one.option, one.promotion, one.level, one.promised,
            one.delayed_by, NO_PRODUCT if one.substitute is None else places[one.substitute],
        )
        for one in told.lost
    ]  # fmt: skip
    columns = Sales(*np.array(rows, dtype=np.int64).reshape(-1, 6).T)
    sales, products = till.plan.sales, till.products
    return (
        [value for _, value, _ in PurchaseEncoder(products, sales).encode(columns)],
        [value for _, value, _ in LostSaleEncoder(products, sales).encode(lost)],
    )


def messages(values: Sequence[bytes | None], first: int = 0) -> list[Any]:
    return [SimpleNamespace(offset=first + place, value=value) for place, value in enumerate(values)]


def record(row: ProducerRecord, written: int, offset: int = 0) -> Any:
    """Return a record as stored on a topic whose cluster sets the time: in milliseconds."""
    return SimpleNamespace(offset=offset, key=row.key, value=row.value, timestamp=written // 1000)


class Table(dict[str, InventoryLevel]):
    """The inventory table, and the restocks published when it was made."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.restocks: list[Any] = []

    def apply(self, purchases: Sequence[Any] = (), lost: Sequence[Any] = ()) -> "Table":
        for tp, apply, chunk in (
            (PURCHASES, PROJECTION.apply_sales, purchases),
            (LOST_SALES, PROJECTION.apply_lost_sales, lost),
        ):
            applied = apply(tp, chunk, self.get, self.plan.supply)
            assert applied.dead_letters == []
            self.update({level.product_id: level for level in applied.levels})
            self.restocks += applied.restocks
        return self

    def rows(self) -> dict[str, dict[str, Any]]:
        return {product_id: level.asdict() for product_id, level in sorted(self.items())}

    def start(self, kept: tuple[EventCursor, Mapping[str, Shelf]] | None = None) -> ResumePoint:
        """Return where a till resumes that knows the table, and the snapshot of shelves if that is needed."""
        last = (EventCursor(event_time(row.last_sale), row.product_id) for row in self.values() if row.sales)
        lost = (EventCursor(event_time(row.last_lost), row.product_id) for row in self.values() if row.lost_sales)
        after = max(last, default=EventCursor(self.plan.opened_at, ""))
        shelves: Mapping[str, Shelf] = {row.product_id: shelf_of(BY_ID[row.product_id], row) for row in self.values()}
        if kept is not None:
            after, shelves = kept
        return ResumePoint(
            after=after,
            shelves=shelves,
            sold={row.product_id: row.sales for row in self.values()},
            lost={row.product_id: row.lost_sales for row in self.values()},
            lost_after=max(lost, default=STREAM_START),
        )


def copies(till: Till) -> dict[str, Shelf]:
    return {shelf.product.product_id: replace(shelf) for shelf in till.shelves}
