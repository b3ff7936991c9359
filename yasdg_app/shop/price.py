"""What a purchase costs and brings: the one place where money is computed, in integer cents."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from yasdg_app.catalog import Product
from yasdg_app.settings import SalesSettings

TEN_THOUSAND = 10_000  # discounts are counted in hundredths of a percent


def total_cents(quantity: int, price_cents: int, supplement_cents: int, member: Decimal, promotion: int) -> int:
    """Return quantity × (price + supplement) × (1 − discount) × (1 − promotion), rounded half up once.

    The seed's formula, with a promotion's discount behind it.

    Parameters
    ----------
    quantity
        Units sold.
    price_cents, supplement_cents
        Of one unit.
    member
        The share that a member does not pay; 0 for all others.
    promotion
        The share that nobody pays in the meantime, in ten-thousandths.
    """
    kept = (TEN_THOUSAND - int(member * TEN_THOUSAND)) * (TEN_THOUSAND - promotion)
    whole = TEN_THOUSAND * TEN_THOUSAND
    return (quantity * (price_cents + supplement_cents) * kept + whole // 2) // whole


def cents(amount: Decimal) -> int:
    """Return an amount of money in cents, rounded half up."""
    return int((amount * 100).to_integral_value(ROUND_HALF_UP))


@dataclass(frozen=True, slots=True)
class Line:
    """What stands on the receipt for one way to buy a product, and what its goods had cost the shop."""

    product: Product
    quantity: int
    is_member: bool
    add_supplements: bool
    member_discount: Decimal
    supplement_cents: int
    promotion: int  # discount in ten-thousandths
    total_cents: int
    cost_cents: int | None  # of all units, supplements included; None where the catalog does not say


def line(
    product: Product, quantity: int, is_member: bool, add_supplements: bool, promotion: int, sales: SalesSettings
) -> Line:
    """Return the receipt's line for `quantity` of a product bought in the given way."""
    member = sales.club_member_discount if is_member else Decimal(0)
    supplement = cents(sales.supplements_cost) if add_supplements else 0
    total = total_cents(quantity, product.price_cents, supplement, member, promotion)
    cost = None
    if product.cost_cents is not None:
        cost = quantity * (product.cost_cents + (cents(sales.supplements_cogs) if add_supplements else 0))
    return Line(product, quantity, is_member, add_supplements, member, supplement, promotion, total, cost)
