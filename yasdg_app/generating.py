"""The stream of a shop without Kafka: the values that its workers append, as lines of JSON, in the order of event time.

One till serves the whole shop, so its order is that of the stream: by time, and within a microsecond by the product
that was asked for. Nothing here knows a broker, a table or what time it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import NamedTuple

from yasdg_app.catalog import Product
from yasdg_app.encoding import BulkEncoder
from yasdg_app.formats import Format
from yasdg_app.messages import LostSaleEncoder, Write, announcement, encode, product, stocking
from yasdg_app.shop.customer import quantity_of
from yasdg_app.shop.demand import microseconds
from yasdg_app.shop.incidents import DAY
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.shelf import NEVER, Shelf, Stocking
from yasdg_app.shop.till import Sales, Till, served_until

FOREVER = microseconds(datetime(2200, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) - 1
"""Event time up to which a stream goes that nothing else ends: behind all times that can be configured."""

STRETCH = 90 * DAY  # event time whose incidents are told of in one go


class Lines(NamedTuple):
    """Some rows of a stream."""

    text: bytes | bytearray  # each row is ended by a newline
    rows: int
    through: int  # event time up to which all rows were told, with these


class Told(NamedTuple):
    """As `Lines`, not yet counted."""

    text: bytes | bytearray
    through: int


def stream(
    what: str, plan: Plan, until: int, *, number_of_sales: int = 0, rows: int | None = None, form: Format | None = None
) -> Iterator[Lines]:
    """Yield the rows of a shop's stream, part by part; a part may be empty.

    Parameters
    ----------
    what
        One of `KINDS`.
    until
        Event time up to which the stream goes, that included.
    number_of_sales
        The shop closes with so many sales in all; 0: it does not.
    rows
        No more of them; None: all.
    form
        Of the lines, which are JSON; None: the default.
    """
    left = rows
    for text, through in KINDS[what](plan, until, number_of_sales, form or Format()):
        count = text.count(b"\n")  # JSON has none inside
        if left is not None and count >= left:
            yield Lines(_head(text, left), left, through)
            return
        left = None if left is None else left - count
        yield Lines(text, count, through)


def joined(values: Iterable[bytes], write: Write | None = None) -> bytes:
    """Return messages as lines, each ended by a newline."""
    return b"\n".join([*(values if write is None else map(write, values)), b""])


def _head(text: bytes | bytearray, rows: int) -> bytes | bytearray:
    """Return the first of at least so many lines."""
    return text[: len(text) - len(text.split(b"\n", rows)[-1])]


# --- What there is --------------------------------------------------------------------------------------------------


def _purchases(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[Told]:
    till = Till(plan, plan.products)
    encoder = BulkEncoder(till.products, plan.sales, form)
    for served, through in served_until(till, until, number_of_sales):
        yield Told(encoder.lines(served.sales), through)


def _lost_sales(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[Told]:
    till = Till(plan, plan.products)
    encoder = LostSaleEncoder(till.products, plan.sales, form.writer("lost_sales"))
    for served, through in served_until(till, until, number_of_sales):
        yield Told(joined(value for _, value, _ in encoder.encode(served.lost)), through)


def _stockings(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[Told]:
    till = Till(plan, plan.products)
    restocks, write = Restocks(plan, till.products), form.writer("stockings")
    for served, through in served_until(till, until, number_of_sales):
        restocks.sell(served.sales)
        yield Told(_restocked(restocks.known(through), write), through)
    yield Told(_restocked(restocks.known(NEVER), write), until)


def _restocked(told: Iterable[tuple[Product, Stocking]], write: Write | None) -> bytes:
    return joined((encode(stocking(product.product_id, each)) for product, each in told), write)


def _incidents(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[Told]:
    begin = plan.opened_at
    for through in _stretches(plan, until, number_of_sales):
        told = plan.incidents.announcements(begin, through + 1)
        values = (encode(announcement(at, phase, incident)) for at, phase, incident in told)
        yield Told(joined(values, form.writer("incidents")), through)
        begin = through + 1


def _stretches(plan: Plan, until: int, number_of_sales: int) -> Iterator[int]:
    """Yield event times up to which the shop lives for certain, the last one being its end."""
    if number_of_sales:
        yield from (through for _, through in served_until(Till(plan, plan.products), until, number_of_sales))
    else:
        yield from range(plan.opened_at + STRETCH, until, STRETCH)
        yield until


def _products(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[Told]:
    yield Told(joined(encode(product(each)) for each in plan.products), until)


KINDS: Mapping[str, Callable[[Plan, int, int, Format], Iterator[Told]]] = {
    "purchases": _purchases,
    "stockings": _stockings,
    "lost_sales": _lost_sales,
    "incidents": _incidents,
    "products": _products,
}
"""What a stream consists of, as `yasdg consume` calls it, and what makes it."""


# --- The shop -------------------------------------------------------------------------------------------------------


class Restocks:
    """The fold of all sales into restocks, as the books have it: one is told of with the sale that finds it there.

    Where suppliers need time, one product's delivery of noon may be told of in the evening, later than another's of the
    afternoon: each waits until nothing earlier can come.
    """

    def __init__(self, plan: Plan, products: tuple[Product, ...]) -> None:
        self._supply = plan.supply
        self._shelves = [Shelf.of(product) for product in products]
        self._waiting: list[tuple[int, int, int, Stocking]] = []  # a heap: by event time, product and number

    def sell(self, sales: Sales) -> None:
        """Take the next sales from the shelves; `sales`: in the stream's order, of the products' places."""
        supply, shelves = self._supply, self._shelves
        for place, at, way in zip(sales.product.tolist(), sales.at.tolist(), sales.way.tolist(), strict=True):
            shelf = shelves[place]
            if shelf.due <= at:
                self._tell(place, shelf.receive(at, supply))
            if come := shelf.sell(quantity_of(way), at, supply):
                self._tell(place, come)

    def _tell(self, place: int, came: Iterable[Stocking]) -> None:
        for each in came:
            heappush(self._waiting, (each.at, place, each.number, each))

    def known(self, through: int) -> Iterator[tuple[Product, Stocking]]:
        """Yield the next restocks in order of event time, as far as they are known.

        `through`: event time up to which all sales were taken; NEVER: there are no more.
        """
        # What stands before a shelf is told of with its next sale; what is ordered later comes later.
        before = through + 1 if through == NEVER else min(through + 1, *(shelf.due for shelf in self._shelves))
        while self._waiting and self._waiting[0][0] < before:
            _, place, _, each = heappop(self._waiting)
            yield self._shelves[place].product, each
