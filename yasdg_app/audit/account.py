"""What an audit remembers of a log: one account per product, and the records that it has yet to match."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from yasdg_app.audit.audited_messages import AuditedLostSale
from yasdg_app.audit.event_times import BEGINNING_OF_TIME, END_OF_TIME, moment
from yasdg_app.config import catalog
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.shop import shelf
from yasdg_app.shop.shelf import Restock, Shelf

BELOW_ALL_LEVELS = -(2**62)  # units; no sale leaves so little
BELOW_ZERO = -1  # units; a sale that leaves it took more than there was

Find = Callable[[str, str, int, str], None]
"""Records a finding in the partition being audited: kind, topic, offset, text."""


class Topics(NamedTuple):
    """Names of the topics."""

    products: str
    purchases: str
    stockings: str
    lost_sales: str
    incidents: str
    dead_letters: str

    @classmethod
    def of(cls, kafka: KafkaSettings) -> "Topics":
        """Return the configured names."""
        return cls(*(getattr(kafka, f"topic_{name}") for name in cls._fields))

    @property
    def partitioned(self) -> tuple[str, ...]:
        """The topics with several partitions."""
        return self.purchases, self.stockings, self.lost_sales, self.dead_letters

    @property
    def copied(self) -> tuple[str, ...]:
        """The topics whose foreign messages are copied to the dead letters; on other topics they are ignored."""
        return self.purchases, self.lost_sales


class Deleted(NamedTuple):
    """What was deleted at the start of a partition."""

    first: int  # first offset that is still there
    number: int | None  # of the shop's messages before it; None if no remaining batch says so

    @property
    def text(self) -> str:
        """Description of what was deleted."""
        what = "messages" if self.number is None else f"{self.number} messages of the shop"
        return f"{what} at the beginning, before offset {self.first}, were deleted and cannot be audited"


class PublishedRestock(NamedTuple):
    """A restock that is in the log, or should be."""

    at: datetime
    number: int
    levels: tuple[int, int, int]  # units: before, added, after
    offset: int  # if expected: that of the sale that follows it
    read_index: int = 0  # among the restocks read from the partition, from 1; 0 if expected


class PendingLostSale(NamedTuple):
    """A lost sale that was read but not yet compared with the shelf."""

    at: datetime
    lost: AuditedLostSale
    offset: int


class MissingSales(NamedTuple):
    """Sales that are missing from the log."""

    first: int
    last: int
    offset: int  # of the sale after them


@dataclass(slots=True)
class WorkerTableRow:
    """The row of a product in the workers' table."""

    fields: Mapping[str, Any]
    sales: int
    lost_sales: int

    def differences(self, log: Mapping[str, Any]) -> str:
        """Return how the table differs from the log; an empty text if it does not."""
        fields = self.fields
        return "; ".join(
            f"{name} is {fields.get(name)}, expected {v}" for name, v in log.items() if fields.get(name) != v
        )


@dataclass(slots=True)
class SalesRecord:
    """The sales of a product in the log, up to the last one that was examined.

    Attributes
    ----------
    number, at, offset
        Sale number, event time and offset of the last sale.
    units, revenue_cents, cost_cents
        Sums of all sales.
    missing
        Sales that are missing so far: they may come later.
    valid_options
        Ways to buy the product that are known to be right at the current promotion: their revenue and cost in cents.
    """

    number: int = 0
    at: datetime = BEGINNING_OF_TIME
    offset: int = -1
    units: int = 0
    revenue_cents: int = 0
    cost_cents: int = 0
    missing: list[MissingSales] = field(default_factory=list)
    valid_options: dict[tuple[Any, ...], tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class LostSalesRecord:
    """The lost sales of a product in the log, up to the last one that was read.

    Attributes
    ----------
    number, at, offset
        Number, event time and offset of the last lost sale.
    units, cents
        Sums of those without a substitute.
    substituted_units
        Sum of those with a substitute.
    pending
        Those that were not compared with the shelf yet.
    """

    number: int = 0
    at: datetime = BEGINNING_OF_TIME
    offset: int = -1
    units: int = 0
    cents: int = 0
    substituted_units: int = 0
    pending: deque[PendingLostSale] = field(default_factory=deque)


@dataclass(slots=True)
class RestocksRecord:
    """The restocks of a product: those in the log, and those that its sales imply.

    Attributes
    ----------
    first_number, last_number
        Numbers of the first and the last restock that were read; None and 0 if there are none.
    number_offset
        By how much the log numbers restocks higher than it should; this was reported.
    unmatched
        Restocks that were read, but whose sales were not.
    expected
        Restocks that should follow the end of what was read.
    unpublished
        Deliveries on the shelf whose next sale was not examined yet; the log contains them only after that sale.
    """

    first_number: int | None = None
    last_number: int = 0
    number_offset: int = 0
    unmatched: deque[PublishedRestock] = field(default_factory=deque)
    expected: deque[PublishedRestock] = field(default_factory=deque)
    unpublished: list[Restock] = field(default_factory=list)


@dataclass(slots=True)
class LevelStatus:
    """Whether the level of a shelf is known, and which sales have to be compared with it one by one.

    Attributes
    ----------
    can_be_known
        False: sales at the start were deleted, so neither the level nor the quantity on order can ever be known.
    is_known
        False: an error was found, so the level is unknown until the next restock states it.
    follows_unknown_sale
        True: the last sale is unknown, so a restock between it and the next one may come before or after it.
    next_check_at
        Event time from which something other than a sale has to be examined.
    check_at_level
        A sale that leaves this level or less has to be examined, units.
    """

    check_at_level: int
    can_be_known: bool = True
    is_known: bool = True
    follows_unknown_sale: bool = False
    next_check_at: datetime = END_OF_TIME


@dataclass(slots=True)
class ProductAccount:
    """What is known of one product after the sales examined so far.

    Attributes
    ----------
    product, key
        The product, and the key of its messages.
    shelf
        Its shelf, as the sales leave it.
    row
        Its row in the workers' table, to compare with the log; None if there is none, or it cannot be compared.
    """

    product: catalog.Product
    key: bytes
    shelf: Shelf
    level: LevelStatus
    sales: SalesRecord = field(default_factory=SalesRecord)
    lost_sales: LostSalesRecord = field(default_factory=LostSalesRecord)
    restocks: RestocksRecord = field(default_factory=RestocksRecord)
    row: WorkerTableRow | None = None

    @classmethod
    def of(cls, product: catalog.Product, min_inventory: int) -> "ProductAccount":
        """Open the account of a product."""
        return cls(product, product.product_id.encode(), Shelf.of(product), LevelStatus(min_inventory))

    def refresh(self, min_inventory: int) -> None:
        """Recompute which sales have to be examined, and the time of the next event that is not a sale."""
        level, restocks = self.level, self.restocks
        if not level.can_be_known:
            level.next_check_at, level.check_at_level = END_OF_TIME, BELOW_ALL_LEVELS
            return
        times = [BEGINNING_OF_TIME] if restocks.unpublished or level.follows_unknown_sale else []
        if restocks.unmatched:
            times.append(restocks.unmatched[0].at)
        if self.lost_sales.pending:
            times.append(self.lost_sales.pending[0].at)
        if level.is_known and self.shelf.due != shelf.END_OF_TIME:
            times.append(moment(self.shelf.due))
        level.next_check_at = min(times, default=END_OF_TIME)
        if not level.is_known:
            level.check_at_level = BELOW_ALL_LEVELS
        else:
            level.check_at_level = BELOW_ZERO if self.shelf.on_order else min_inventory
