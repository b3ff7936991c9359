"""A product's shelf: what was sold and restocked, what is on order, and the rule that orders it.

The rule is the seed's: after a sale, a level at or below the minimum has `restock_amount` put on the shelf. Where the
supplier needs no time, it is there at once; else it comes when it is due, and nothing more is ordered until then. A
delivery is received before the next customer is served, so a shelf needs no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.supply import Supply

END_OF_TIME = 2**62  # event time of a delivery that does not come, since nothing is on order


@dataclass(frozen=True, slots=True)
class Restock:
    """One restock of a shelf."""

    number: int  # among those of its product, from 1
    at: int  # event time, microseconds since 1970
    existing_level: int
    stock_quantity: int

    @property
    def new_level(self) -> int:
        """Level after the restock."""
        return self.existing_level + self.stock_quantity


@dataclass(slots=True)
class Shelf:
    """The shelf of one product, in units; at any time ``initial + restocked - sold == level``."""

    product: Product
    initial: int
    level: int
    sales: int = 0  # number of sales, which is the number of the last one
    sold: int = 0
    stockings: int = 0
    restocked: int = 0
    on_order: int = 0
    ordered_at: int = 0  # event time from which the lead time runs of what is on order
    due: int = END_OF_TIME  # when it comes, by all that is known
    promised: int = END_OF_TIME  # when it would come if nothing held it up
    delayed_by: str | None = None  # name of the incident that makes it come later than that

    @classmethod
    def of(cls, product: Product) -> "Shelf":
        """Return the shelf of a product as the shop opens."""
        return cls(product, initial=product.inventory, level=product.inventory)

    def update_eta(self, supply: Supply) -> None:
        """Compute again when the delivery of what is on order is due."""
        if self.on_order:
            of = self.product, self.stockings + 1, self.ordered_at
            self.promised, (self.due, self.delayed_by) = supply.promised(*of), supply.delivery(*of)
        else:
            self.promised, self.due, self.delayed_by = END_OF_TIME, END_OF_TIME, None

    def backorder_info(self, at: int) -> tuple[int, str | None]:
        """Return what a customer who finds too little is told: when more was promised, and what delays it by now.

        An incident that is set later may change the delivery, but neither of the two.
        """
        return self.promised, self.delayed_by if self.promised <= at else None

    def receive(self, until: int, supply: Supply) -> Sequence[Restock]:
        """Receive the deliveries that are due by `until`; return their restocks."""
        came = []
        while self.due <= until:
            number, at = self.stockings + 1, self.due
            brought = supply.delivered_quantity(self.product, number, self.on_order)
            came.append(Restock(number, at, self.level, brought))
            self.stockings = number
            self.restocked += brought
            self.level += brought
            self.on_order -= brought
            # What took its time may be too little by now; the seed's restock, which takes none, is not repeated.
            if not self.on_order and at > self.ordered_at and self.level <= supply.min_inventory:
                self.on_order = supply.restock_amount
            self.ordered_at = at
            self.update_eta(supply)
        return came

    def sell(self, quantity: int, at: int, supply: Supply) -> Sequence[Restock]:
        """Take `quantity` units, at most the level; return the restocks that arrive instantly."""
        self.sales += 1
        self.sold += quantity
        self.level -= quantity
        if self.level > supply.min_inventory or self.on_order:
            return ()
        self.on_order, self.ordered_at = supply.restock_amount, at
        self.update_eta(supply)
        return self.receive(at, supply)

    def receive_and_sell(self, quantity: int, at: int, supply: Supply) -> Sequence[Restock]:
        """Receive what is due by `at`, then sell: one step of a shelf. Return all restocks, in order.

        It is what every path does that takes one sale after the other. `instant_restocks` and `truth.restocking` do the
        same for many sales in columns.
        """
        if self.due > at:
            return self.sell(quantity, at, supply)
        return [*self.receive(at, supply), *self.sell(quantity, at, supply)]


def instant_restocks(level: Ints, sold: Ints, supply: Supply) -> Ints:
    """Return how many restocks a shelf has had after each of its sales, where all that is ordered is there at once.

    It is what `Shelf.sell` comes to, for many sales in one go: each restock adds more than a sale takes, so there is
    one after each sale that takes the level to the minimum.

    Parameters
    ----------
    level
        Units that were on the shelf before the first of the sales; above the minimum, and nothing was on order.
    sold
        Units sold with this sale and all before it. The level after the sale is ``level - sold + restocks * amount``.
    supply
        Whose `instant` is true for the products.
    """
    short = sold + (supply.min_inventory - level)  # below 0: above the minimum
    restocks: Ints = np.maximum(short // supply.restock_amount + 1, 0)
    return restocks
