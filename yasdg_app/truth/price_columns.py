"""The prices of many sales, in columns; equal to those of `shop.price` to the cent."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SalesSettings
from yasdg_app.shop.customer_behaviour import purchase_options, terms_of
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.price import BASIS_POINTS, total_cents
from yasdg_app.shop.sales import Sales

UNKNOWN = -1  # in place of a cost


class PriceColumns(NamedTuple):
    """Prices of sales: arrays of one length. Money in cents, discounts in ten-thousandths."""

    price: Ints  # of one unit
    quantity: Ints
    is_member: Ints  # 1 or 0
    member_discount: Ints
    add_supplements: Ints  # 1 or 0
    supplement_price: Ints  # of one unit
    total: Ints
    cost: Ints  # UNKNOWN if the catalog has none


class BulkPricing:
    """Computes the prices of sales.

    Parameters
    ----------
    products
        Those of the till.
    sales
        Settings of the sales: discounts and supplements.
    """

    def __init__(self, products: Sequence[Product], sales: SalesSettings) -> None:
        self._price = _column(product.price_cents for product in products)
        self._cost = _column(UNKNOWN if product.cost_cents is None else product.cost_cents for product in products)
        ways = [terms_of(way, sales) for way in range(purchase_options(sales))]
        self._quantity = _column(terms.quantity for terms in ways)
        self._is_member = _column(terms.is_member for terms in ways)
        self._member_discount = _column(terms.member_discount for terms in ways)
        self._add_supplements = _column(terms.add_supplements for terms in ways)
        self._supplement_price = _column(terms.supplement_cents for terms in ways)
        self._supplement_cogs = _column(terms.supplement_cogs for terms in ways)
        most = int(self._quantity.max()) * (int(self._price.max()) + int(self._supplement_price.max()))
        # Prices above 400 million would overflow 64 bits.
        self._exact: type = np.int64 if (most + 1) * BASIS_POINTS**2 < 2**63 else object

    def of(self, sales: Sales) -> PriceColumns:
        """Return the prices of sales."""
        way, price, of_goods = sales.option, self._price[sales.product], self._cost[sales.product]
        quantity, discount, supplement = self._quantity[way], self._member_discount[way], self._supplement_price[way]
        cost = np.where(of_goods == UNKNOWN, UNKNOWN, quantity * (of_goods + self._supplement_cogs[way]))
        factors = (quantity, price, supplement, discount, sales.promotion)
        total = total_cents(*(factor.astype(self._exact) for factor in factors)).astype(np.int64)
        return PriceColumns(
            price, quantity, self._is_member[way], discount, self._add_supplements[way], supplement, total, cost
        )


def _column(values: Iterable[int]) -> Ints:
    return np.fromiter(values, np.int64)
