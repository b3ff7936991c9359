"""What becomes of customers, in columns: sales, lost sales, and the order of both."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yasdg_app.shop.demand import Ints

NO_PRODUCT = -1  # in place of a product's index


class EventCursor(NamedTuple):
    """A place in the stream's order: customers are served by time, those of one microsecond by what they ask for."""

    at: int  # microseconds since 1970
    product_id: str


STREAM_START = EventCursor(-(2**62), "")


def cursor_after(at: int) -> EventCursor:
    """Return the place behind all customers up to an event time."""
    return EventCursor(at, "\U0010ffff")


@dataclass(frozen=True, slots=True)
class Sales:
    """Sales in the stream's order: arrays of one length."""

    product: Ints  # place of the product in the till's tuple of products
    number: Ints  # of this sale among those of its product, from 1
    at: Ints  # event time, microseconds since 1970
    option: Ints  # way to buy: see `customer.line_of`
    promotion: Ints  # discount in ten-thousandths
    requested_product: Ints  # place of the product that the customer had asked for; NO_PRODUCT: this one

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
    """A customer who found too little of what was asked for."""

    product: int  # as in `Sales`
    number: int  # among the lost sales of the product, from 1
    at: int
    option: int
    promotion: int
    level: int  # units that were left
    promised: int  # when more was to come; `shelf.END_OF_TIME`: nothing is on order
    delayed_by: str | None  # name of the incident that makes it late by now
    substitute: int  # what the customer took instead; NO_PRODUCT: nothing


@dataclass(frozen=True, slots=True)
class SalesBatch:
    """What became of the customers of a stretch of time."""

    sales: Sales = NO_SALES
    lost: Sequence[LostSale] = ()

    def __add__(self, later: "SalesBatch") -> "SalesBatch":
        return SalesBatch(self.sales + later.sales, [*self.lost, *later.lost])
