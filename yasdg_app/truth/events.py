"""All that is counted of a shop, block by block in columns: sales, restocks, customers turned away."""

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
COSTED = "costed"  # sales whose cost is known: where there are none, there is no cost
COUNTED = (*OF_SALES, *OF_RESTOCKS, *OF_LOST_SALES, COSTED)
MONEY = ("revenue", "discount", "cost")  # cents
PLACE = {name: place for place, name in enumerate(COUNTED)}


class EventColumns(NamedTuple):
    """What happened, of one kind: arrays of one length, in no order."""

    letter: str  # of its ids, between the product's and the number
    product: Ints  # place of the product among the till's
    number: Ints  # among those of the product, from 1
    at: Ints  # event time, microseconds since 1970
    counts: Ints  # what each adds to each of COUNTED
    times: Ints | None = None  # that it is counted; None: once


class Block(NamedTuple):
    """What happened in a stretch of event time."""

    arrived: Arrived | None  # the sales, and how they were delivered; None: nobody asked
    events: Sequence[EventColumns]
    through: int  # event time up to which all customers are served
    settled: int  # event time before which nothing else will have happened


def blocks(plan: Plan, until: int, arrivals: ArrivalSimulator | None = None) -> Iterator[Block]:
    """Yield all that happens in a shop up to an event time, that included, or with its last sale.

    A delivery that waits for the sale that tells of it may be days old; `settled` says what it leaves open.

    `arrivals`: through which somebody sees the sales; None: they are the shop's own.
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
    """Return sales as often as they are counted."""
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
