"""A product's shelf: the books of what was sold and restocked, and the rule that restocks it.

The rule is the seed's: after a sale, a level at or below the minimum has `restock_amount` put on the shelf, at once.
"""

from dataclasses import dataclass

from yasdg_app.catalog import Product
from yasdg_app.settings import InventorySettings


@dataclass(frozen=True, slots=True)
class Stocking:
    """One restock of a shelf."""

    number: int  # among those of its product, from 1
    existing_level: int
    stock_quantity: int

    @property
    def new_level(self) -> int:
        """Level after the restock."""
        return self.existing_level + self.stock_quantity


@dataclass(slots=True)
class Shelf:
    """The books of one product, in units and cents; at any time ``initial + restocked - sold == level``."""

    initial: int
    level: int
    sales: int = 0  # number of sales, which is the number of the last one
    sold: int = 0
    stockings: int = 0
    restocked: int = 0
    revenue_cents: int = 0
    cost_cents: int = 0

    @classmethod
    def of(cls, product: Product) -> "Shelf":
        """Return the shelf of a product as the shop opens."""
        return cls(initial=product.inventory, level=product.inventory)

    def sell(self, quantity: int, revenue_cents: int, cost_cents: int, rule: InventorySettings) -> Stocking | None:
        """Take `quantity` from the shelf; return the restock that this causes, if any.

        Parameters
        ----------
        quantity
            Units sold.
        revenue_cents, cost_cents
            What the sale brought, and what its goods had cost, in all.
        rule
            When to restock, and how much.
        """
        self.sales += 1
        self.sold += quantity
        self.level -= quantity
        self.revenue_cents += revenue_cents
        self.cost_cents += cost_cents
        if self.level > rule.min_inventory:
            return None
        self.stockings += 1
        stocking = Stocking(self.stockings, self.level, rule.restock_amount)
        self.restocked += rule.restock_amount
        self.level = stocking.new_level
        return stocking
