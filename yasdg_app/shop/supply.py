"""What happens to an order: when the supplier delivers it, and how much at a time."""

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from math import sqrt

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import OUT_OF, InventorySettings, SupplierSettings
from yasdg_app.shop.calendar import Calendar
from yasdg_app.shop.demand import microseconds
from yasdg_app.shop.incidents import Incidents
from yasdg_app.shop.randomness import key, uniform

DAYS_PER_WEEK = 7
MAX_POSTPONEMENTS = 1_000  # a delivery that is postponed more often arrives on the wrong day


class Supply:
    """The suppliers of a shop: pure functions of the seed, the product, and the number of its delivery.

    Parameters
    ----------
    inventory
        When to order, and how much.
    supplier
        The default supplier, for products without a supplier of their own.
    suppliers
        The other suppliers, each for some categories.
    calendar, incidents
        Delivery days, and incidents that delay deliveries.
    seed
        The shop's seed.
    largest_quantity
        The most units that one sale takes.
    """

    def __init__(
        self,
        inventory: InventorySettings,
        supplier: SupplierSettings,
        suppliers: Sequence[SupplierSettings],
        calendar: Calendar,
        incidents: Incidents,
        seed: int,
        largest_quantity: int,
    ) -> None:
        self.largest_quantity = largest_quantity
        self.min_inventory = inventory.min_inventory
        self.restock_amount = inventory.restock_amount
        self._supplier = supplier
        self._by_category = {category: other for other in suppliers for category in other.categories}
        self._calendar = calendar
        self._incidents = incidents
        self._seed = seed

    def orders_again(self, level: int, took_time: bool) -> bool:
        """Return whether the shelf orders again when all of an order is there, at that level.

        A delivery that took time may not be enough by now. An instant restock is not repeated, as originally. But if
        the last two parts of an order arrive together, the second one instantly, they may be too little for a large
        sale: with nothing on order, its customers would find too little for ever. They are two units at least, so that
        with sales of up to two units this never happens.
        """
        return level <= self.min_inventory and (took_time or 2 <= level < self.largest_quantity)

    def is_instant(self, product: Product) -> bool:
        """Return whether orders of a product arrive at the moment they are placed."""
        supplier = self._by_category.get(product.category, self._supplier)
        no_time = max(_lead_times(supplier.lead_time)) == 0 and _any_day(supplier) and not supplier.partial_freq
        return no_time and not self._incidents.has_supply

    def promised(self, product: Product, number: int, ordered_at: int) -> int:
        """Return the event time at which a product's `number`-th delivery would arrive without delay."""
        supplier = self._by_category.get(product.category, self._supplier)
        due = ordered_at + self._lead_time(supplier, product, number)
        return due if _any_day(supplier) else self._calendar.next_midnight_on(due, supplier.delivery_days)

    def delivery(self, product: Product, number: int, ordered_at: int) -> tuple[int, str | None]:
        """Return when a product's `number`-th delivery arrives, and the incident that makes it late, if any."""
        supplier = self._by_category.get(product.category, self._supplier)
        due, late = self._incidents.delivery(product, ordered_at, self._lead_time(supplier, product, number))
        if _any_day(supplier):
            return due, late
        for _ in range(MAX_POSTPONEMENTS):
            on_the_day = self._calendar.next_midnight_on(due, supplier.delivery_days)
            # The delivery may now meet an incident that it would otherwise have avoided.
            due, later = self._incidents.delivery(product, on_the_day, 0)
            late = late or later
            if due == on_the_day:
                break
        # A delay that is shorter than the wait for the delivery day does not make the delivery late.
        return due, late if late and due > self.promised(product, number, ordered_at) else None

    def delivered_quantity(self, product: Product, number: int, outstanding: int) -> int:
        """Return how many of the outstanding units a product's `number`-th delivery brings: at least one."""
        supplier = self._by_category.get(product.category, self._supplier)
        if outstanding < 2 or not supplier.partial_freq:
            return outstanding
        if self._chance(product, "partial", number) * OUT_OF >= supplier.partial_freq:
            return outstanding
        return 1 + int(self._chance(product, "part", number) * (outstanding - 1))

    def _lead_time(self, supplier: SupplierSettings, product: Product, number: int) -> int:
        """Return the lead time of a delivery in microseconds, with a triangular distribution."""
        least, usual, longest = _lead_times(supplier.lead_time)
        if least == longest:
            return least
        # Its inverse distribution function; see for example Law, "Simulation Modeling and Analysis", section 8.3.
        u, width = self._chance(product, "lead time", number), longest - least
        rising = usual - least
        if u * width < rising:
            return least + int(sqrt(u * width * rising))
        return longest - int(sqrt((1.0 - u) * width * (longest - usual)))

    def _chance(self, product: Product, what: str, number: int) -> float:
        return uniform(_key(self._seed, product.product_id, what), number)


@lru_cache(maxsize=65_536)
def _key(seed: int, product_id: str, what: str) -> int:
    return int(key(seed, product_id, what))


@lru_cache(maxsize=1_024)
def _lead_times(lead_time: tuple[timedelta, ...]) -> tuple[int, ...]:
    return tuple(map(microseconds, lead_time))


def _any_day(supplier: SupplierSettings) -> bool:
    return len(supplier.delivery_days) == DAYS_PER_WEEK
