"""What a customer who asks for a product takes: how many, as a member or not, with supplements or not."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SalesSettings
from yasdg_app.shop.demand import Arrivals, Ints
from yasdg_app.shop.price import Line, Terms, line, terms
from yasdg_app.shop.randomness import Floats, keys, keys_of_cells, uniforms

Way = TypeVar("Way", int, Ints)

OUT_OF = 10  # frequencies in the configuration are chances out of ten, as in the seed
WAYS = 8  # to buy a product: one or two, as a member or not, with supplements or not


class Customs:
    """What the customers of some products are like: pure functions of seed, product and their places in time."""

    def __init__(self, products: Sequence[Product], sales: SalesSettings) -> None:
        self._sales = sales
        freq = np.array([sales.add_supp_freq_group1, sales.add_supp_freq_group2], dtype=np.float64)
        groups = np.array([product.supplement_group for product in products], dtype=np.int8)
        self._supplement_freq = freq[groups - 1]
        ids = [product.product_id for product in products]
        purposes = ("quantity", "member", "supplements", *(("willing", "taste") if sales.substitution_freq else ()))
        self._families = {what: keys(sales.seed, ids, what) for what in purposes}

    def ways(self, arrivals: Arrivals) -> Ints:
        """Return the number of the way in which each customer buys, 0 to 7: see `line_of`."""
        way = (self.uniforms("quantity", arrivals) * OUT_OF >= self._sales.quantity_one_freq).astype(np.int64)
        way <<= 1
        way += self.uniforms("member", arrivals) * OUT_OF < self._sales.member_freq
        way <<= 1
        supplement_freq = self._supplement_freq[arrivals.rows.product][arrivals.row]
        way += self.uniforms("supplements", arrivals) * OUT_OF < supplement_freq
        return way

    def uniforms(self, what: str, arrivals: Arrivals) -> Floats:
        """Return a number of each customer for a purpose, uniform in [0, 1)."""
        rows = arrivals.rows
        return uniforms(keys_of_cells(self._families[what][rows.product], rows.cell)[arrivals.row], arrivals.index)


def quantity_of(way: Way) -> Way:
    """Return the units of a way to buy."""
    return (way >> 2) + 1


def terms_of(way: int, sales: SalesSettings) -> Terms:
    """Return the terms of a way to buy."""
    return terms(quantity_of(way), bool(way & 2), bool(way & 1), sales)


def line_of(product: Product, way: int, promotion: int, sales: SalesSettings) -> Line:
    """Return the receipt's line of a way to buy a product, at a promotion's discount in ten-thousandths."""
    return line(product, terms_of(way, sales), promotion)
