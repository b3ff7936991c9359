"""What a person should see in an outlook, since it may well not be meant as it is configured."""

from collections.abc import Iterator, Sequence

import numpy as np

from yasdg_app.config.settings import IncidentSettings
from yasdg_app.forecast.outlook import Outlook
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incident import incident_of
from yasdg_app.shop.incidents import DAY_MINUTES
from yasdg_app.text import count, length

PACE = 50_000  # customers a second that a worker on a usual machine may be trusted with; more or less
LONG = 3600  # seconds after which a person should have been told
MANY = 1_000_000_000  # messages, likewise
BADLY = 0.1  # share of a product's customers that somebody should not want to lose
SHOWN = 3  # examples of a kind


def remarks(outlook: Outlook) -> Iterator[str]:
    """Yield what may well not be meant as it is configured, each in one sentence or two."""
    yield from _about_time(outlook)
    yield from _about_days(outlook)
    for each in outlook.settings.incidents:
        if each.start is not None:
            yield from _about_incident(each, outlook)
    yield from _about_shelves(outlook)
    busiest = max((float(day.customers.max()) / 3600 for day in outlook.days), default=0.0)
    if busiest > PACE:
        yield (
            f"In the busiest hour {count(busiest)} customers a second come; a worker may be trusted with {count(PACE)} "
            "or so. Run several, or raise min_sale_freq and max_sale_freq."
        )


def _about_time(outlook: Outlook) -> Iterator[str]:
    catch_up, speed = outlook.catch_up, outlook.settings.clock.speed
    if catch_up is None:
        return
    if catch_up.seconds is None:
        falls = "it stays as late as it is" if speed == 1 else "it falls behind more and more"
        yield f"At speed {speed:g} the shop is never live: {falls}. Expected a speed above 1, max, or start = now."
    elif catch_up.seconds > LONG:
        at = "as fast as possible" if speed is None else f"at speed {speed:g}"
        yield (
            f"It takes some {length(catch_up.seconds)} until it {'closes' if catch_up.closes else 'is live'}, {at}. "
            f"A later start{'' if speed is None else ', or a higher speed,'} makes that shorter."
        )
    if speed is not None and catch_up.a_second > PACE:
        yield (
            f"At speed {speed:g} some {count(catch_up.a_second)} customers a second come; a worker may be trusted with "
            f"{count(PACE)} or so. It will be later than its clock."
        )
    if catch_up.messages > MANY:
        yield f"{count(catch_up.messages)} messages lie between its start and now: more than most disks hold."


def _about_days(outlook: Outlook) -> Iterator[str]:
    days = outlook.days
    if not any(any(day.open) for day in days):
        yield (
            f"The shop is closed in all of {days[0].date} to {days[-1].date}: it is before its first moment, behind "
            "its last, or [HOURS] has none for these days."
        )
        return
    closed = [day for day in days if not day.spans and not any(day.open)]
    if closed:
        named = [f"{day.date:%a} {day.date}" + (f" ({day.why})" if day.why else "") for day in closed]
        yield f"Closed all day: {_some(named)}."
    idle = [f"{day.date:%a} {day.date}" for day in days if any(day.open) and not day.total]
    if idle:
        yield f"Open, but nobody comes: {_some(idle)}. [VOLUME] has 0 for these hours, or an incident the factor 0."


def _about_incident(each: IncidentSettings, outlook: Outlook) -> Iterator[str]:
    plan = outlook.plan
    assert each.start is not None
    its = incident_of(each, each.name, plan.calendar.utc(each.start) // MINUTE)
    name = f"[INCIDENT {each.name}]"
    if its.end <= plan.opened_at:
        yield f"{name} is over before the shop's first moment, {plan.calendar.local(plan.opened_at):%Y-%m-%d %H:%M}."
    elif outlook.closes_at is not None and its.start > outlook.closes_at:
        yield f"{name} begins after the shop's last moment, {plan.calendar.local(outlook.closes_at):%Y-%m-%d %H:%M}."
    elif not its.is_supply and its.end > its.start:
        first, last = its.start // MINUTE, its.end // MINUTE
        days = (np.arange(at, min(at + DAY_MINUTES, last), dtype=np.int64) for at in range(first, last, DAY_MINUTES))
        if not any(plan.calendar.activity(minutes).any() for minutes in days):
            lasts = length(each.duration.total_seconds())
            yield f"{name} lies in closed hours, {each.start:%Y-%m-%d %H:%M} for {lasts}: nobody sees it."
        elif each.factor == 1.0 and not each.discount:
            yield f"{name} has a factor of 1 and no discount: it changes nothing."


def _about_shelves(outlook: Outlook) -> Iterator[str]:
    supply = outlook.plan.supply
    badly = [each for each in outlook.short if each.share >= BADLY]
    slow = [each for each in badly if each.in_lead_time > supply.min_inventory]
    if slow:
        worst = _some(
            [
                f"{each.product.product_id} {each.share:.0%} (up to {count(each.in_lead_time)} units are asked for "
                f"in the {length(each.lead_time.total_seconds())} that an order takes)"
                for each in slow
            ]
        )
        enough = 1.25 * max(each.in_lead_time for each in slow)
        now = {"min_inventory": supply.min_inventory, "restock_amount": supply.restock_amount}
        low = " and ".join(name for name, value in now.items() if value < enough)
        yield (
            f"Customers will find too little of {_products(len(slow))}, for min_inventory is {supply.min_inventory} "
            f"and restock_amount {supply.restock_amount}: {worst}. Better: {low} of {count(enough)} or more."
        )
    opening = [each for each in badly if each not in slow and not each.held_up]
    if opening:
        worst = _some([f"{each.product.product_id} {each.share:.0%}" for each in opening])
        yield (
            f"Customers will find too little of {_products(len(opening))}: {worst}. The inventory of the catalog does "
            "not last until the first delivery, or deliveries bring too little at a time."
        )


def _products(number: int) -> str:
    return "one product" if number == 1 else f"{number} products"


def _some(words: Sequence[str]) -> str:
    more = len(words) - SHOWN
    return ", ".join(words[:SHOWN]) + (f" and {more} more" if more > 0 else "")
