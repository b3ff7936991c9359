"""All events of a shop that are counted, block by block in columns: sales, restocks, customers turned away."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from yasdg_app.shop.customer_behaviour import quantity_of
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sale_limit import generate_all
from yasdg_app.shop.sales import LostSale, Sales
from yasdg_app.shop.shelf import END_OF_TIME
from yasdg_app.shop.till import Till
from yasdg_app.truth.arrivals import ArrivalSimulator, Arrived
from yasdg_app.truth.price_columns import UNKNOWN, BulkPricing
from yasdg_app.truth.restocking import BulkRestocking, RestockColumns

OF_SALES = ("sales", "units", "revenue", "members", "supplements", "discount", "cost")
OF_RESTOCKS = ("restocks", "restocked_units")
OF_LOST_SALES = ("lost_sales", "lost_units")
COSTED = "costed"  # number of sales whose cost is known: if it is 0, there is no cost
COUNTED = (*OF_SALES, *OF_RESTOCKS, *OF_LOST_SALES, COSTED)
MONEY = ("revenue", "discount", "cost")  # cents
PLACE = {name: place for place, name in enumerate(COUNTED)}


class EventColumns(NamedTuple):
    """Events of one kind: arrays of one length, in no particular order."""

    letter: str  # in its ids, between the product and the number
    product: Ints  # index of the product in the till
    number: Ints  # among the events of the product, from 1
    at: Ints  # event time, microseconds since 1970
    counts: Ints  # what each event adds to each of COUNTED
    times: Ints | None = None  # how often each is counted; None: once


class Block(NamedTuple):
    """The events of an interval of event time."""

    arrived: Arrived | None  # the sales, and how they were delivered; None: no delivery is simulated
    events: Sequence[EventColumns]
    through: int  # event time up to which all customers are served
    settled: int  # event time before which there are no further events


def blocks(plan: Plan, until: int, arrivals: ArrivalSimulator | None = None) -> Iterator[Block]:
    """Yield all events of a shop up to and including an event time, or up to its last sale.

    A restock is published with the first sale after its delivery, which may come days later. Until then `settled` stays
    at or before the time of the delivery.

    `arrivals`: simulates how the sales are delivered; None: the events are those of the shop itself.
    """
    till = Till(plan, plan.products)
    pricing, restocking = BulkPricing(till.products, plan.sales), BulkRestocking(till.products, plan.supply)
    for served, through in generate_all(till, until, plan.sales.number_of_sales):
        own = [_restocked(restocking.sell(served.sales)), _turned_away(served.lost)]
        settled = min(through + 1, restocking.first_due)
        if arrivals is None:
            yield Block(None, [_sold(served.sales, pricing), *own], through, settled)
        else:
            arrived = arrivals.deliver(served.sales, through)
            yield Block(arrived, [_seen(arrived, pricing), *own], through, min(settled, arrivals.first_held))
    if arrivals is None:
        yield Block(None, (), until, END_OF_TIME)
    else:
        arrived = arrivals.rest()
        yield Block(arrived, [_seen(arrived, pricing)], until, END_OF_TIME)


def _counts(rows: int, **columns: Ints | int) -> Ints:
    counts = np.zeros((rows, len(COUNTED)), dtype=np.int64)
    for name, values in columns.items():
        counts[:, PLACE[name]] = values
    return counts


def _sold(sales: Sales, pricing: BulkPricing) -> EventColumns:
    lines = pricing.of(sales)
    costed = lines.cost != UNKNOWN
    counts = _counts(
        len(sales),
        sales=1,
        units=lines.quantity,
        revenue=lines.total,
        members=lines.is_member,
        supplements=lines.add_supplements,
        discount=lines.quantity * (lines.price + lines.supplement_price) - lines.total,
        cost=np.where(costed, lines.cost, 0),
        costed=costed,
    )
    return EventColumns("", sales.product, sales.number, sales.at, counts)


def _seen(arrived: Arrived, pricing: BulkPricing) -> EventColumns:
    """Return sales with the number of times that each is counted."""
    sold = _sold(arrived.sales, pricing)
    return sold._replace(times=arrived.times)


def _restocked(restocks: RestockColumns) -> EventColumns:
    counts = _counts(len(restocks.at), restocks=1, restocked_units=restocks.units)
    return EventColumns("R", restocks.product, restocks.number, restocks.at, counts)


def _turned_away(lost: Sequence[LostSale]) -> EventColumns:
    rows = np.array([(one.product, one.number, one.at, one.option) for one in lost], dtype=np.int64).reshape(-1, 4)
    product, number, at, option = rows.T
    counts = _counts(len(rows), lost_sales=1, lost_units=quantity_of(option))
    return EventColumns("L", product, number, at, counts)
