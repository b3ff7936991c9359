"""The stream of a shop without Kafka: the values that its workers append, as JSON lines in order of event time.

One till serves the whole shop, so its order is that of the stream: by time, and within a microsecond by the product
that was asked for. Nothing here depends on a broker, on a table or on the current time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from heapq import heappop, heappush
from math import prod
from typing import NamedTuple

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import Settings
from yasdg_app.messages.bulk_encoder import BulkEncoder
from yasdg_app.messages.encoders import LostSaleEncoder, Write, encode_fault
from yasdg_app.messages.formats import Format
from yasdg_app.messages.reference import announcement, encode, product, stocking
from yasdg_app.shop.customer_behaviour import quantity_of
from yasdg_app.shop.demand import microseconds
from yasdg_app.shop.faults import CORRUPT, DROPPED, DUPLICATE, NONE, Faults
from yasdg_app.shop.faults import KINDS as FAULTS
from yasdg_app.shop.incidents import DAY
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.randomness import UInts
from yasdg_app.shop.sale_limit import generate_all
from yasdg_app.shop.sales import Sales
from yasdg_app.shop.shelf import END_OF_TIME, Restock, Shelf
from yasdg_app.shop.till import Till

FOREVER = microseconds(datetime(2200, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) - 1
"""Event time at which a stream without another end stops: later than all times that can be configured."""

INCIDENT_SPAN = 90 * DAY  # span of event time whose incidents are written in one part


class StreamLines(NamedTuple):
    """Some rows of a stream."""

    text: bytes | bytearray  # each row ends with a newline
    rows: int
    through: int  # event time up to which all rows are complete, including these


class _Part(NamedTuple):
    """Like `StreamLines`, not counted yet."""

    text: bytes | bytearray
    through: int


def stream(
    what: str, plan: Plan, until: int, *, number_of_sales: int = 0, rows: int | None = None,
    form: Format | None = None, faults: Faults | None = None,
) -> Iterator[StreamLines]:  # fmt: skip
    """Yield the rows of a shop's stream, part by part; a part may be empty.

    Parameters
    ----------
    what
        One of `KINDS`; with faults also one of `FAULTY`.
    until
        Event time of the stream's end (inclusive), microseconds since 1970.
    number_of_sales
        The shop closes after this number of sales in total; 0: no limit.
    rows
        Maximum number of rows; None: no limit.
    form
        Format of times in the lines, which are always JSON; None: the default.
    faults
        Faults of the channel that delivers the sales; required for the kinds of `FAULTY`.
    """
    left, form = rows, form or Format()
    parts: Iterator[_Part]
    if what in FAULTY:
        assert faults is not None
        parts = FAULTY[what](plan, until, number_of_sales, form, faults)
    else:
        parts = KINDS[what](plan, until, number_of_sales, form)
    for text, through in parts:
        count = text.count(b"\n")  # JSON contains no raw newlines
        if left is not None and count >= left:
            yield StreamLines(_head(text, left), left, through)
            return
        left = None if left is None else left - count
        yield StreamLines(text, count, through)


def joined(values: Iterable[bytes], write: Write | None = None) -> bytes:
    """Return messages as lines, each ending with a newline."""
    return b"\n".join([*(values if write is None else map(write, values)), b""])


def _head(text: bytes | bytearray, rows: int) -> bytes | bytearray:
    """Return the first `rows` lines; the text has at least as many."""
    return text[: len(text) - len(text.split(b"\n", rows)[-1])]


# --- Kinds of rows --------------------------------------------------------------------------------------------------


def _purchases(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[_Part]:
    till = Till(plan, plan.products)
    encoder = BulkEncoder(till.products, plan.sales, form)
    for served, through in generate_all(till, until, number_of_sales):
        yield _Part(encoder.lines(served.sales), through)


def _lost_sales(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[_Part]:
    till = Till(plan, plan.products)
    encoder = LostSaleEncoder(till.products, plan.sales, form.writer("lost_sales"))
    for served, through in generate_all(till, until, number_of_sales):
        yield _Part(joined(value for _, value, _ in encoder.encode(served.lost)), through)


def _stockings(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[_Part]:
    till = Till(plan, plan.products)
    restocks, write = RestockSequencer(plan, till.products), form.writer("stockings")
    for served, through in generate_all(till, until, number_of_sales):
        restocks.sell(served.sales)
        yield _Part(_restocked(restocks.known(through), write), through)
    yield _Part(_restocked(restocks.known(END_OF_TIME), write), until)


def _restocked(restocks: Iterable[tuple[Product, Restock]], write: Write | None) -> bytes:
    return joined((encode(stocking(product.product_id, each)) for product, each in restocks), write)


def _incidents(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[_Part]:
    begin = plan.opened_at
    for through in _stretches(plan, until, number_of_sales):
        announcements = plan.incidents.announcements(begin, through + 1)
        values = (encode(announcement(at, phase, incident)) for at, phase, incident in announcements)
        yield _Part(joined(values, form.writer("incidents")), through)
        begin = through + 1


def _stretches(plan: Plan, until: int, number_of_sales: int) -> Iterator[int]:
    """Yield increasing event times up to which the shop is known to be open; the last one is its end."""
    if number_of_sales:
        yield from (through for _, through in generate_all(Till(plan, plan.products), until, number_of_sales))
    else:
        yield from range(plan.opened_at + INCIDENT_SPAN, until, INCIDENT_SPAN)
        yield until


def _products(plan: Plan, until: int, number_of_sales: int, form: Format) -> Iterator[_Part]:
    yield _Part(joined(encode(product(each)) for each in plan.products), until)


KINDS: Mapping[str, Callable[[Plan, int, int, Format], Iterator[_Part]]] = {
    "purchases": _purchases,
    "stockings": _stockings,
    "lost_sales": _lost_sales,
    "incidents": _incidents,
    "products": _products,
}
"""The functions that make the rows, by the names that `yasdg consume` uses."""


class _Arrival(NamedTuple):
    """A sale delivered by a faulty channel, in order of arrival: time, product and number."""

    released_at: int
    product: int  # its index in the till
    number: int
    kind: int
    at: int
    line: bytes


def _arrivals(
    till: Till, until: int, number_of_sales: int, faults: Faults, lines: Callable[[Sales], bytes | bytearray]
) -> Iterator[tuple[Sequence[_Arrival], int]]:
    """Yield the arrivals, and the time up to which they are complete. Sales in transit when the shop closes are lost.

    Only the sales in transit are held in memory: a share of those made within the longest delay.
    """
    keys = faults.keys([product.product_id for product in till.products])
    held: list[_Arrival] = []  # a heap
    for served, through in generate_all(till, until, number_of_sales):
        sales = served.sales
        kinds, delays = faults.of_rows(keys[sales.product], sales.number)
        columns = (sales.at + delays, sales.product, sales.number, kinds, sales.at)
        texts = bytes(lines(sales)).split(b"\n")[:-1]
        here: list[_Arrival] = []
        for arrival in map(_Arrival._make, zip(*(column.tolist() for column in columns), texts, strict=True)):
            if arrival.released_at <= through:
                here.append(arrival)
            else:
                heappush(held, arrival)
        while held and held[0].released_at <= through:
            here.append(heappop(held))
        here.sort()
        yield here, through


def _dirty(plan: Plan, until: int, number_of_sales: int, form: Format, faults: Faults) -> Iterator[_Part]:
    till = Till(plan, plan.products)
    keys = faults.keys([product.product_id for product in till.products])
    encoder = BulkEncoder(till.products, plan.sales, form)
    for arrivals, through in _arrivals(till, until, number_of_sales, faults, encoder.lines):
        yield _Part(joined(value for each in arrivals for value in _delivered(each, keys, faults)), through)


def _delivered(arrival: _Arrival, keys: UInts, faults: Faults) -> Sequence[bytes]:
    """Return the values of the messages that deliver a sale."""
    if arrival.kind == DROPPED:
        return ()
    if arrival.kind == CORRUPT:
        return (faults.damaged(int(keys[arrival.product]), arrival.number, arrival.line),)
    return (arrival.line,) * (2 if arrival.kind == DUPLICATE else 1)


def _faults(plan: Plan, until: int, number_of_sales: int, form: Format, faults: Faults) -> Iterator[_Part]:
    till = Till(plan, plan.products)

    def no_lines(sales: Sales) -> bytes:
        return b"\n" * len(sales)

    for arrivals, through in _arrivals(till, until, number_of_sales, faults, no_lines):
        values = (
            encode_fault(
                each.at, till.products[each.product].product_id, each.number, FAULTS[each.kind],
                None if each.kind == DROPPED else each.released_at,
            )
            for each in arrivals
            if each.kind != NONE
        )  # fmt: skip
        yield _Part(joined(values, form.writer("faults")), through)


FAULTY: Mapping[str, Callable[[Plan, int, int, Format, Faults], Iterator[_Part]]] = {"dirty": _dirty, "faults": _faults}
"""The additional kinds if a shop has [FAULTS]."""
BY_SALES = ("purchases", "stockings", "lost_sales", *FAULTY)
"""The kinds that have rows only if there are customers."""


def most_expected(settings: Settings, plan: Plan, until: int) -> float:
    """Return an upper bound for the number of customers expected up to and including an event time."""
    seconds = max(until + 1 - plan.opened_at, 0) / 1_000_000
    growth = (1 + max(settings.volume.growth, 0.0)) ** (seconds / (365 * 86_400))
    rush = prod(max(1.0, incident.factor) for incident in settings.incidents)
    return float(seconds / settings.sales.mean_seconds_between_sales * plan.calendar.peak * growth * rush)


# --- The shop -------------------------------------------------------------------------------------------------------


class RestockSequencer:
    """Derives restocks from all sales, as the inventory does, and puts them in order of event time.

    A restock is published with its product's next sale. So if suppliers need time, a delivery at noon may be published
    in the evening, later than an afternoon delivery of another product. Each restock waits until no earlier one can
    follow.
    """

    def __init__(self, plan: Plan, products: tuple[Product, ...]) -> None:
        self._supply = plan.supply
        self._shelves = [Shelf.of(product) for product in products]
        self._waiting: list[tuple[int, int, int, Restock]] = []  # a heap: by event time, product and number

    def sell(self, sales: Sales) -> None:
        """Apply the next sales to the shelves; `sales`: in the stream's order, of the products' indexes."""
        supply, shelves = self._supply, self._shelves
        for place, at, option in zip(sales.product.tolist(), sales.at.tolist(), sales.option.tolist(), strict=True):
            shelf = shelves[place]
            if came := shelf.receive_and_sell(quantity_of(option), at, supply):
                self._add(place, came)

    def _add(self, place: int, came: Iterable[Restock]) -> None:
        for each in came:
            heappush(self._waiting, (each.at, place, each.number, each))

    def known(self, through: int) -> Iterator[tuple[Product, Restock]]:
        """Yield the next restocks in order of event time, as far as they are known.

        `through`: event time up to which all sales were applied; END_OF_TIME: there are no more.
        """
        # A delivery becomes known with the shelf's next sale; anything ordered later arrives later.
        before = through + 1 if through == END_OF_TIME else min(through + 1, *(shelf.due for shelf in self._shelves))
        while self._waiting and self._waiting[0][0] < before:
            _, place, _, each = heappop(self._waiting)
            yield self._shelves[place].product, each
