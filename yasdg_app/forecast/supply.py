"""How well suppliers can keep up with the expected demand.

It is an estimate: it assumes that units leave the shelf evenly, as many as are expected, and that the plan's suppliers
deliver them. Chance makes it worse: a shelf that is just sufficient on average is insufficient every other time.
"""

from datetime import datetime, timedelta

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SupplierSettings
from yasdg_app.shop.demand import MINUTE, Ints
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.randomness import Floats
from yasdg_app.shop.shelf import END_OF_TIME

HOUR = 60 * MINUTE
MAX_DELIVERIES = 3_000  # deliveries of a product that are simulated; after them, the result so far is extrapolated


def edges_of_minutes(first: int, count: int) -> Ints:
    """Return when each minute begins, and when the last one ends, in microseconds since 1970."""
    return np.arange(first, first + count + 1, dtype=np.int64) * MINUTE


def up_to(at: Ints, first: int, by_minute: Floats) -> Floats:
    """Return how much of a quantity spread over minutes from `first` on is before each event time."""
    sums = np.concatenate([[0.0], np.cumsum(by_minute)])
    # Counted from the first minute: microseconds since 1970 use all digits of a float.
    place = np.clip(at - first * MINUTE, 0, len(by_minute) * MINUTE)
    whole = place // MINUTE
    part: Floats = np.append(by_minute, 0.0)[whole] * ((place - whole * MINUTE) / MINUTE)
    result: Floats = sums[whole] + part
    return result


def mean_lead_time(supplier: SupplierSettings) -> timedelta:
    """Return the mean duration of an order, including the wait for a delivery day."""
    days = [day in supplier.delivery_days for day in range(7)]
    turned = days[days.index(True) :] + days[: days.index(True)]
    waits = "".join("x" if come else "." for come in turned).split("x")
    waiting = sum(len(run) ** 2 for run in waits) / 14  # days: half a run, and a run is hit with its share of the week
    return sum(supplier.lead_time, timedelta()) / 3 + timedelta(days=waiting)


def shortage(plan: Plan, product: Product, first: int, units: Floats, begin: int, end: int) -> Floats | None:
    """Return the share of each minute from `first` on in which the shelf is expected to be empty; None: it never is.

    Parameters
    ----------
    units
        Expected units requested in each minute from `first` on.
    begin, end
        Event times between which the shelf is simulated. It starts full, or with its opening stock at the shop's first
        moment.
    """
    supply, last = plan.supply, len(units) * MINUTE
    sums = np.concatenate([[0.0], np.cumsum(units)])
    offset = first * MINUTE

    def asked(at: int) -> float:
        place = min(max(at - offset, 0), last)
        whole, part = divmod(place, MINUTE)
        return float(sums[whole]) + (float(units[whole]) * part / MINUTE if part else 0.0)

    def when(amount: float, earliest: int) -> int:
        """Return when this many units have been requested; `end` if that is later."""
        if amount > sums[-1]:
            return end
        whole = max(int(np.searchsorted(sums, amount)) - 1, 0)
        part = (amount - float(sums[whole])) / float(units[whole]) if units[whole] else 0.0
        return max(earliest, offset + whole * MINUTE + int(part * MINUTE))

    level = float(product.inventory if begin == plan.opened_at else supply.min_inventory + supply.restock_amount)
    empty: list[tuple[int, int]] = []
    now, number, deliveries, on_order, due = begin, 0, 0, 0, END_OF_TIME
    while now < end and deliveries < MAX_DELIVERIES:
        deliveries += 1
        if not on_order:
            step = max(level - supply.min_inventory, 1.0)
            now, level, on_order = when(asked(now) + step, now), level - step, supply.restock_amount
            if now >= end:
                break
            due, _ = supply.delivery(product, number + 1, now)
            if due <= now and level + on_order > supply.min_inventory:  # and this repeats for a while
                until = min(_next_change(plan, product, now), end)
                times = max(int((asked(until) - asked(now)) / supply.restock_amount), 1)
                level, on_order, number = level + supply.restock_amount, 0, number + times
                now = when(asked(now) + float((times - 1) * supply.restock_amount), now)
                continue
        wanted = asked(due) - asked(now)
        if wanted > level and due > now:
            empty.append((when(asked(now) + level, now), min(due, end)))
        level, now = max(level - wanted, 0.0), due
        number += 1
        brought = supply.delivered_quantity(product, number, on_order)
        level, on_order = level + brought, on_order - brought
        if not on_order and level <= supply.min_inventory:
            on_order = supply.restock_amount
        if on_order:
            due, _ = supply.delivery(product, number + 1, now)
    if not empty:
        return None
    share = np.zeros(len(units))
    for start, stop in empty:
        minute = start // MINUTE
        edges = np.clip(edges_of_minutes(minute, -(-stop // MINUTE) - minute), start, max(start, stop))
        share[minute - first : minute - first + len(edges) - 1] += np.diff(edges) / MINUTE
    if now < end:
        reached = now // MINUTE - first
        share[reached:] = (share[:reached] * units[:reached]).sum() / max(units[:reached].sum(), 1e-9)
    return share


def _next_change(plan: Plan, product: Product, at: int) -> int:
    """Return the next midnight, or the earlier start of an incident that delays deliveries."""
    midnight = datetime.combine(plan.calendar.local(at).date() + timedelta(days=1), datetime.min.time())
    until = max(plan.calendar.utc(midnight), at + HOUR)
    here = plan.incidents.between(at, until)
    return min([until, *(each.start for each in here if each.is_supply and each.start > at and each.concerns(product))])
