"""A product's shelf: what was sold and restocked, what is on order, and the rule for orders.

The rule is the original generator's: if a sale leaves the level at or below the minimum, `restock_amount` is ordered.
If the supplier needs no time, it arrives instantly. Otherwise it arrives when it is due, and nothing more is ordered
until then. A delivery is received before the next customer is served, so a shelf needs no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.supply import Supply

END_OF_TIME = 2**62  # event time (microseconds) of a delivery that never arrives, because nothing is on order


@dataclass(frozen=True, slots=True)
class Restock:
    """One restock of a shelf."""

    number: int  # among those of its product, from 1
    at: int  # event time, microseconds since 1970
    existing_level: int
    stock_quantity: int

    @property
    def new_level(self) -> int:
        """Level in units after the restock."""
        return self.existing_level + self.stock_quantity


@dataclass(slots=True)
class Shelf:
    """The shelf of one product, in units; at any time ``initial + restocked - sold == level``.

    All event times are in microseconds since 1970.
    """

    product: Product
    initial: int
    level: int
    sales: int = 0  # number of sales, and so the number of the last one
    sold: int = 0
    restocks: int = 0  # number of restocks, and so the number of the last one
    restocked: int = 0
    on_order: int = 0  # units
    ordered_at: int = 0  # event time at which the lead time of the outstanding order starts
    due: int = END_OF_TIME  # event time at which the delivery is due, as far as is known
    promised: int = END_OF_TIME  # event time at which it would arrive without delay
    delayed_by: str | None = None  # name of the incident that delays it beyond `promised`

    @classmethod
    def of(cls, product: Product) -> "Shelf":
        """Return the shelf of a product when the shop opens."""
        return cls(product, initial=product.inventory, level=product.inventory)

    def update_eta(self, supply: Supply) -> None:
        """Recompute when the delivery of the outstanding order is due."""
        if self.on_order:
            of = self.product, self.restocks + 1, self.ordered_at
            self.promised, (self.due, self.delayed_by) = supply.promised(*of), supply.delivery(*of)
        else:
            self.promised, self.due, self.delayed_by = END_OF_TIME, END_OF_TIME, None

    def backorder_info(self, at: int) -> tuple[int, str | None]:
        """Return what a lost sale reports: the promised time of the delivery, and the incident that delayed it so far.

        An incident that is added later may change the time of delivery, but neither of these two values.
        """
        return self.promised, self.delayed_by if self.promised <= at else None

    def receive(self, until: int, supply: Supply) -> Sequence[Restock]:
        """Receive the deliveries that are due by `until`; return their restocks."""
        came = []
        while self.due <= until:
            number, at = self.restocks + 1, self.due
            brought = supply.delivered_quantity(self.product, number, self.on_order)
            came.append(Restock(number, at, self.level, brought))
            self.restocks = number
            self.restocked += brought
            self.level += brought
            self.on_order -= brought
            if not self.on_order and supply.orders_again(self.level, at > self.ordered_at):
                self.on_order = supply.restock_amount
            self.ordered_at = at
            self.update_eta(supply)
        return came

    def sell(self, quantity: int, at: int, supply: Supply) -> Sequence[Restock]:
        """Take `quantity` units (at most the level) at an event time; return the restocks that arrive instantly."""
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

        Code that handles sales one by one uses it, except the till and the audit, which must see after `receive`
        whether the level suffices. `instant_restocks` and `truth.restocking` do the same for many sales in columns.
        """
        if self.due > at:
            return self.sell(quantity, at, supply)
        return [*self.receive(at, supply), *self.sell(quantity, at, supply)]


def instant_restocks(level: Ints, sold: Ints, supply: Supply) -> Ints:
    """Return the number of restocks of a shelf after each of its sales, if all orders arrive instantly.

    The result is the same as with `Shelf.sell`, for many sales at once. Each restock adds more than a sale takes, so
    one restock follows each sale that takes the level to the minimum.

    Parameters
    ----------
    level
        Units on the shelf before the first sale; above the minimum, with nothing on order.
    sold
        Units sold by this sale and all earlier ones. The level after the sale is ``level - sold + restocks * amount``.
    supply
        `supply.is_instant` must be true for the products.
    """
    short = sold + (supply.min_inventory - level)  # below 0: above the minimum
    restocks: Ints = np.maximum(short // supply.restock_amount + 1, 0)
    return restocks
