"""How a customer buys a product: how many units, as a member or not, with supplements or not."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import OUT_OF, SalesSettings
from yasdg_app.shop.demand import Arrivals, Ints
from yasdg_app.shop.price import Line, Terms, line, terms
from yasdg_app.shop.randomness import Floats, keys, keys_of_cells, uniforms

Option = TypeVar("Option", int, Ints)

OPTIONS_PER_QUANTITY = 4  # ways to buy some units of a product: as a member or not, with supplements or not


class CustomerBehaviour:
    """The behaviour of the customers of some products: pure functions of seed, product and position in time."""

    def __init__(self, products: Sequence[Product], sales: SalesSettings) -> None:
        self._sales = sales
        # With one quantity alone there is no threshold below the chance of all sales.
        self._first_threshold, *self._other_thresholds = sales.quantity_thresholds or (OUT_OF,)
        freq = np.array([0, sales.add_supp_freq_group1, sales.add_supp_freq_group2], dtype=np.float64)
        groups = np.array([product.supplement_group for product in products], dtype=np.int8)
        self._supplement_freq = freq[groups]
        ids = [product.product_id for product in products]
        purposes = ("quantity", "member", "supplements", *(("willing", "taste") if sales.substitution_freq else ()))
        self._families = {what: keys(sales.seed, ids, what) for what in purposes}

    def options(self, arrivals: Arrivals) -> Ints:
        """Return the purchase option of each customer, from 0 to `purchase_options` - 1; see `line_of`."""
        wanted = self.uniforms("quantity", arrivals) * OUT_OF
        option = (wanted >= self._first_threshold).astype(np.int64)
        for threshold in self._other_thresholds:
            option += wanted >= threshold
        option <<= 1
        option += self.uniforms("member", arrivals) * OUT_OF < self._sales.member_freq
        option <<= 1
        supplement_freq = self._supplement_freq[arrivals.rows.product][arrivals.row]
        option += self.uniforms("supplements", arrivals) * OUT_OF < supplement_freq
        return option

    def uniforms(self, what: str, arrivals: Arrivals) -> Floats:
        """Return a random number per customer for a purpose, uniform in [0, 1)."""
        rows = arrivals.rows
        return uniforms(keys_of_cells(self._families[what][rows.product], rows.cell)[arrivals.row], arrivals.index)


def purchase_options(sales: SalesSettings) -> int:
    """Return the number of ways to buy a product."""
    return OPTIONS_PER_QUANTITY * sales.largest_quantity


def quantity_of(option: Option) -> Option:
    """Return the number of units of a purchase option."""
    return (option >> 2) + 1


def terms_of(option: int, sales: SalesSettings) -> Terms:
    """Return the terms of a purchase option."""
    return terms(quantity_of(option), bool(option & 2), bool(option & 1), sales)


def line_of(product: Product, option: int, promotion: int, sales: SalesSettings) -> Line:
    """Return the receipt line of a product bought with an option, at a promotion's discount in ten-thousandths."""
    return line(product, terms_of(option, sales), promotion)
