"""What a purchase costs and brings: the one place where money is computed, in integer cents."""

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
    """Return quantity × (price + supplement) × (1 − discount) × (1 − promotion), rounded half up once.

    The seed's formula, with a promotion's discount behind it; of one sale, or of many in columns.

    Parameters
    ----------
    quantity
        Units sold.
    price_cents, supplement_cents
        Of one unit.
    member
        The share that a member does not pay, in ten-thousandths; 0 for all others.
    promotion
        The share that nobody pays in the meantime, in ten-thousandths.
    """
    kept = (BASIS_POINTS - member) * (BASIS_POINTS - promotion)
    whole = BASIS_POINTS * BASIS_POINTS
    total: Number = (quantity * (price_cents + supplement_cents) * kept + whole // 2) // whole
    return total


def cents(amount: Decimal) -> int:
    """Return an amount of money in cents, rounded half up."""
    return int((amount * 100).to_integral_value(ROUND_HALF_UP))


class Terms(NamedTuple):
    """One way to buy, of whatever product, and what it comes to."""

    quantity: int
    is_member: bool
    add_supplements: bool
    member_discount: int  # ten-thousandths
    supplement_cents: int  # of one unit, what it sells for
    supplement_cogs: int  # and costs

    def total_cents(self, product: Product, promotion: int) -> int:
        """Return what a product is sold for, at a promotion's discount in ten-thousandths."""
        return total_cents(
            self.quantity, product.price_cents, self.supplement_cents, self.member_discount, promotion
        )  # fmt: skip

    def cost_cents(self, product: Product) -> int | None:
        """Return what a product had cost the shop; None where the catalog does not say."""
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
    """What stands on the receipt for one way to buy a product, and what its goods had cost the shop."""

    product: Product
    quantity: int
    is_member: bool
    add_supplements: bool
    member_discount: int  # ten-thousandths
    supplement_cents: int
    promotion: int  # discount in ten-thousandths
    total_cents: int
    cost_cents: int | None  # of all units, supplements included; None where the catalog does not say


def line(product: Product, terms: Terms, promotion: int) -> Line:
    """Return the receipt's line of a product, bought on some terms."""
    return Line(
        product, terms.quantity, terms.is_member, terms.add_supplements, terms.member_discount, terms.supplement_cents,
        promotion, terms.total_cents(product, promotion), terms.cost_cents(product),
    )  # fmt: skip
