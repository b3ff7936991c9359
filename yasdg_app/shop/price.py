"""What a purchase costs and earns: the only place where money is computed, in integer cents."""

from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple, TypeVar

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SalesSettings
from yasdg_app.shop.demand import Ints

Number = TypeVar("Number", int, Ints)

BASIS_POINTS = 10_000  # discounts are counted in hundredths of a percent


def total_cents(
    quantity: Number, price_cents: Number, supplement_cents: Number, member: Number, promotion: Number
) -> Number:
    """Return quantity × (price + supplement) × (1 − discount) × (1 − promotion) in cents, rounded half up once.

    The seed's formula, with a promotion's discount added; for one sale, or for many in columns.

    Parameters
    ----------
    quantity
        Units sold.
    price_cents, supplement_cents
        Price of one unit in cents.
    member
        Member discount in ten-thousandths; 0 for customers who are not members.
    promotion
        Discount for all customers during a promotion, in ten-thousandths.
    """
    kept = (BASIS_POINTS - member) * (BASIS_POINTS - promotion)
    whole = BASIS_POINTS * BASIS_POINTS
    total: Number = (quantity * (price_cents + supplement_cents) * kept + whole // 2) // whole
    return total


def cents(amount: Decimal) -> int:
    """Return an amount of money in cents, rounded half up."""
    return int((amount * 100).to_integral_value(ROUND_HALF_UP))


class Terms(NamedTuple):
    """One way to buy any product, with its quantity, discount and supplements."""

    quantity: int
    is_member: bool
    add_supplements: bool
    member_discount: int  # ten-thousandths
    supplement_cents: int  # price of the supplement of one unit
    supplement_cogs: int  # its cost to the shop

    def total_cents(self, product: Product, promotion: int) -> int:
        """Return the price of a purchase of a product in cents, at a promotion's discount in ten-thousandths."""
        return total_cents(
            self.quantity, product.price_cents, self.supplement_cents, self.member_discount, promotion
        )  # fmt: skip

    def cost_cents(self, product: Product) -> int | None:
        """Return the cost of the sold units to the shop in cents; None if the catalog does not give it."""
        return None if product.cost_cents is None else self.quantity * (product.cost_cents + self.supplement_cogs)


def terms(quantity: int, is_member: bool, add_supplements: bool, sales: SalesSettings) -> Terms:
    """Return the terms of a way to buy."""
    return Terms(
        quantity,
        is_member,
        add_supplements,
        int(sales.club_member_discount * BASIS_POINTS) if is_member else 0,
        cents(sales.supplements_cost) if add_supplements else 0,
        cents(sales.supplements_cogs) if add_supplements else 0,
    )


class Line(NamedTuple):
    """The receipt line of one purchase of a product, and the cost of its goods to the shop."""

    product: Product
    quantity: int
    is_member: bool
    add_supplements: bool
    member_discount: int  # ten-thousandths
    supplement_cents: int
    promotion: int  # discount in ten-thousandths
    total_cents: int
    cost_cents: int | None  # of all units, including supplements; None if the catalog does not give it


def line(product: Product, terms: Terms, promotion: int) -> Line:
    """Return the receipt line of a product, bought on the given terms."""
    return Line(
        product, terms.quantity, terms.is_member, terms.add_supplements, terms.member_discount, terms.supplement_cents,
        promotion, terms.total_cents(product, promotion), terms.cost_cents(product),
    )  # fmt: skip
