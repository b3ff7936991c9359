"""What a customer who asks for a product takes: how many, as a member or not, with supplements or not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yasdg_app.catalog import Product
from yasdg_app.settings import SalesSettings
from yasdg_app.shop.demand import Arrivals
from yasdg_app.shop.price import Line, Terms, line, terms
from yasdg_app.shop.randomness import key, keys_of_cells, uniforms

OUT_OF = 10  # frequencies in the configuration are chances out of ten, as in the seed
LARGEST_QUANTITY = 2
WAYS = 8  # to buy a product: one or two, as a member or not, with supplements or not


@dataclass(frozen=True, slots=True)
class Choices:
    """What each customer takes: arrays of one length, in the order of the arrivals."""

    quantity: NDArray[np.int64]  # 1 or 2
    is_member: NDArray[np.bool_]
    add_supplements: NDArray[np.bool_]

    @property
    def way(self) -> NDArray[np.int64]:
        """Number of the way to buy, 0 to 7: see `line_of`."""
        return (self.quantity - 1) * 4 + self.is_member * 2 + self.add_supplements


def choices(product: Product, arrivals: Arrivals, sales: SalesSettings) -> Choices:
    """Return what the customers of a product take: a pure function of seed, product and their places in time."""

    def chance(what: str, out_of_ten: float) -> NDArray[np.bool_]:
        keys = keys_of_cells(key(sales.seed, product.product_id, what), arrivals.cell)
        return uniforms(keys, arrivals.index) * OUT_OF < out_of_ten

    supplements = sales.add_supp_freq_group1 if product.supplement_group == 1 else sales.add_supp_freq_group2
    return Choices(
        quantity=np.where(chance("quantity", sales.quantity_one_freq), 1, LARGEST_QUANTITY),
        is_member=chance("member", sales.member_freq),
        add_supplements=chance("supplements", supplements),
    )


def quantity_of(way: int) -> int:
    """Return the units of a way to buy."""
    return (way >> 2) + 1


def terms_of(way: int, sales: SalesSettings) -> Terms:
    """Return the terms of a way to buy."""
    return terms(quantity_of(way), bool(way & 2), bool(way & 1), sales)


def line_of(product: Product, way: int, promotion: int, sales: SalesSettings) -> Line:
    """Return the receipt's line of a way to buy a product, at a promotion's discount in ten-thousandths."""
    return line(product, terms_of(way, sales), promotion)
