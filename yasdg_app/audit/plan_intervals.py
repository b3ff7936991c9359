"""The plan's state at a time: whether the shop is open, and the discount of each product."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from yasdg_app.audit.event_times import BEGINNING_OF_TIME, micros, moment
from yasdg_app.config.catalog import Product
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.plan import Plan

DAY = 1440  # minutes


class PlanInterval:
    """An interval of event time in which the plan does not change; it is looked up again only after its end.

    Attributes
    ----------
    begin, end
        The interval; `end` is exclusive.
    closed
        Why nothing can be sold in it, as a text that follows "the shop was"; empty if the shop is open.
    promotions
        Discounts in ten-thousandths, by product_id; a product without a discount is missing.
    """

    def __init__(self, plan: Plan, products: Sequence[Product]) -> None:
        self._plan = plan
        self._products = products
        self.begin = self.end = BEGINNING_OF_TIME
        self.closed = ""
        self.promotions: dict[str, int] = {}

    def advance_to(self, at: datetime) -> bool:
        """Move to the interval that contains a time; return whether it is a different one."""
        if self.begin <= at < self.end:
            return False
        time, plan = micros(at), self._plan
        if time < plan.opened_at:
            self.begin, self.end = BEGINNING_OF_TIME, moment(plan.opened_at)
            self.closed, self.promotions = "not open yet", {}
            return True
        minute = time // MINUTE
        opened, minutes = self._hours(minute)
        begin, end = max(minute * MINUTE, plan.opened_at), (minute + minutes) * MINUTE
        self.closed = "" if opened else "closed"
        for gap in plan.gaps:
            if gap.after < time <= gap.until:
                self.closed = "down: this time was skipped"
            edges = gap.after + 1, gap.until + 1
            begin = max(begin, *(edge for edge in edges if edge <= time), begin)
            end = min(end, *(edge for edge in edges if edge > time), end)
        discounts = [incident for incident in plan.incidents.between(minute * MINUTE, end) if incident.discount]
        changes = (edge for incident in discounts for edge in (incident.start, incident.end))
        end = min((edge for edge in changes if time < edge < end), default=end)
        self.begin, self.end = moment(begin), moment(end)
        self.promotions = self._discounts(minute) if discounts else {}
        return True

    def _hours(self, minute: int) -> tuple[bool, int]:
        """Return whether the shop is open in a minute, and for how many more minutes of the day that holds."""
        minutes = np.arange(minute, (minute // DAY + 1) * DAY, dtype=np.int64)
        try:
            opened = self._plan.calendar.activity(minutes) > 0.0
        except (OverflowError, ValueError):  # after the last year of the calendar
            return False, 1
        other = np.flatnonzero(opened != opened[0])
        return bool(opened[0]), int(other[0]) if len(other) else len(minutes)

    def _discounts(self, minute: int) -> dict[str, int]:
        cell = minute << self._plan.grid.halvings
        found = ((product.product_id, self._plan.discount(product, cell, 1)) for product in self._products)
        discounts = {product_id: 0 if discount is None else int(discount[0]) for product_id, discount in found}
        return {product_id: discount for product_id, discount in discounts.items() if discount}
