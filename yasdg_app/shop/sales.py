"""The outcome of customers' requests, in columns: sales, lost sales, and the order of both."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yasdg_app.shop.demand import Ints

NO_PRODUCT = -1  # in place of a product's index


class EventCursor(NamedTuple):
    """A position in stream order: customers are served by time, and within a microsecond by requested product."""

    at: int  # microseconds since 1970
    product_id: str


STREAM_START = EventCursor(-(2**62), "")


def cursor_after(at: int) -> EventCursor:
    """Return the position after all customers up to an event time, inclusive."""
    return EventCursor(at, "\U0010ffff")


@dataclass(frozen=True, slots=True)
class Sales:
    """Sales in stream order: arrays of equal length."""

    product: Ints  # index in the till's tuple of products
    number: Ints  # of this sale among those of its product, from 1
    at: Ints  # event time, microseconds since 1970
    option: Ints  # purchase option: see `customer_behaviour.line_of`
    promotion: Ints  # discount in ten-thousandths
    requested_product: Ints  # index of the product that the customer asked for; NO_PRODUCT: the same as `product`

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: slice | Ints | NDArray[np.bool_]) -> "Sales":
        return Sales(
            self.product[rows], self.number[rows], self.at[rows], self.option[rows], self.promotion[rows],
            self.requested_product[rows],
        )  # fmt: skip

    def __add__(self, later: "Sales") -> "Sales":
        return Sales(
            *(np.concatenate((getattr(self, column.name), getattr(later, column.name))) for column in fields(Sales))
        )


NO_SALES = Sales(*(np.empty(0, dtype=np.int64) for _ in range(6)))


class LostSale(NamedTuple):
    """A customer who found too little of the requested product."""

    product: int  # as in `Sales`
    number: int  # among the lost sales of the product, from 1
    at: int
    option: int
    promotion: int
    level: int  # units that were left
    promised: int  # promised time of the next delivery; `shelf.END_OF_TIME`: nothing is on order
    delayed_by: str | None  # name of the incident that has delayed it so far
    substitute: int  # what the customer bought instead; NO_PRODUCT: nothing


@dataclass(frozen=True, slots=True)
class SalesBatch:
    """The sales and lost sales of a time span."""

    sales: Sales = NO_SALES
    lost: Sequence[LostSale] = ()

    def __add__(self, later: "SalesBatch") -> "SalesBatch":
        return SalesBatch(self.sales + later.sales, [*self.lost, *later.lost])
