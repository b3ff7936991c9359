"""What a purchase costs: the one place where money is computed, in integer cents."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from yasdg_app.catalog import Product
from yasdg_app.settings import SalesSettings

TEN_THOUSAND = 10_000  # discounts are counted in hundredths of a percent


def total_cents(quantity: int, price_cents: int, supplement_cents: int, discount: Decimal) -> int:
    """Return quantity × (price + supplement) × (1 − discount), rounded half up once (the seed's formula)."""
    kept = TEN_THOUSAND - int(discount * TEN_THOUSAND)
    return (quantity * (price_cents + supplement_cents) * kept + TEN_THOUSAND // 2) // TEN_THOUSAND


def cents(amount: Decimal) -> int:
    """Return an amount of money in cents, rounded half up."""
    return int((amount * 100).to_integral_value(ROUND_HALF_UP))


@dataclass(frozen=True, slots=True)
class Line:
    """What stands on the receipt for one way to buy a product."""

    product: Product
    quantity: int
    is_member: bool
    add_supplements: bool
    member_discount: Decimal
    supplement_cents: int
    total_cents: int


def line(product: Product, quantity: int, is_member: bool, add_supplements: bool, sales: SalesSettings) -> Line:
    """Return the receipt's line for `quantity` of a product bought in the given way."""
    discount = sales.club_member_discount if is_member else Decimal(0)
    supplement = cents(sales.supplements_cost) if add_supplements else 0
    total = total_cents(quantity, product.price_cents, supplement, discount)
    return Line(product, quantity, is_member, add_supplements, discount, supplement, total)
