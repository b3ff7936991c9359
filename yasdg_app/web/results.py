"""What workers send each other at `/share/`, and what the combination of their answers is. Pure.

The field names are on the wire between workers of two versions; tests/test_worker_names.py pins them.
"""

from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

Count = tuple[int, int, int]
"""Number of sales, units, and revenue in cents."""

ZERO: Count = (0, 0, 0)


class PartialResult(msgspec.Struct):
    """A worker's part of a result: that of its partitions in one generation of the group; None: it has none now."""

    generation: int | None
    partitions: list[int]


class SalesCount(msgspec.Struct):
    """Sales of a product or category, and the position of that product or category in catalog order."""

    place: int
    key: str
    sales: int
    units: int
    cents: int


class PartialLevels(PartialResult):
    """Rows of the inventory table, with the position of their product in the catalog."""

    rows: list[tuple[int, dict[str, Any]]]


class PartialSales(PartialResult):
    """Sales of a window. Event times in microseconds; None if the worker has no partition with products."""

    complete_from: int | None
    complete_through: int | None
    rows: list[SalesCount]


class WorkerState(msgspec.Struct):
    """The state of a worker; `reasons` explains why it is not ready.

    `lag`: purchases not yet applied to the table; `rate`: sales per second; `behind`: delay of its sales in seconds.
    """

    ready: bool
    reasons: list[str]
    lag: int | None
    rate: float
    behind: float | None


class PartialState(PartialResult):
    """The state of a worker, and its partitions."""

    state: WorkerState


class ProductLine(msgspec.Struct):
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
    """Sums since the shop opened."""

    sales: int = 0
    units: int = 0
    cents: int = 0
    restocks: int = 0
    lost_sales: int = 0


class WindowSales(msgspec.Struct):
    """Sales of a window: by category, and of the best sellers."""

    categories: dict[str, Count]
    products: list[SalesCount]


class SalesHistory(msgspec.Struct):
    """Sales before `through`: of the windows that end there, and of each minute from `first` on.

    `series` has, by category, sales and cents per minute.
    """

    first: int
    through: int
    windows: dict[str, WindowSales]
    series: dict[str, list[tuple[int, int]]]


class PartialSnapshot(PartialState):
    """A worker's part of the page. `past` is None if it was not requested, or is not known up to the requested time."""

    complete_from: int | None
    complete_through: int | None
    totals: Totals
    products: list[ProductLine]
    past: SalesHistory | None
    restocks: list[dict[str, Any]]
    lost_sales: list[dict[str, Any]]


P = TypeVar("P", bound=PartialResult)


class MissingPartitions(NamedTuple):
    """Partitions that are not in a result, their owner as far as it is known, and the reason."""

    partitions: list[int]
    url: str | None
    why: str


class Gathered(NamedTuple, Generic[P]):
    """Partial results of one generation by the URL of their worker, and what is missing.

    `silent` has the workers that did not answer, and the reason.
    """

    parts: dict[str, P]
    missing: list[MissingPartitions]
    silent: dict[str, str]

    @property
    def partitions(self) -> list[int]:
        """The partitions that are included."""
        return sorted(partition for part in self.parts.values() for partition in part.partitions)

    @property
    def owning(self) -> list[P]:
        """The partial results that include any partition."""
        return [part for part in self.parts.values() if part.partitions]
