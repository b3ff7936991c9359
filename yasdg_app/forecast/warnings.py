"""Warnings about parts of a forecast that are probably not intended."""

from collections.abc import Iterator, Sequence

import numpy as np

from yasdg_app.config.settings import IncidentSettings
from yasdg_app.forecast.model import Forecast
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incident import incident_of
from yasdg_app.shop.incidents import DAY_MINUTES
from yasdg_app.text import count, length

CUSTOMERS_PER_WORKER_SECOND = 50_000  # roughly what one worker on an ordinary machine handles
LONG_CATCH_UP_SECONDS = 3600  # a longer catch-up causes a warning
MANY_MESSAGES = 1_000_000_000  # more messages cause a warning
BAD_LOSS_SHARE = 0.1  # of a product's customers: losing more of them causes a warning
MAX_EXAMPLES = 3  # examples in one warning


def likely_mistakes(forecast: Forecast) -> Iterator[str]:
    """Yield a warning of one or two sentences for each setting that is probably a mistake."""
    yield from _about_time(forecast)
    yield from _about_days(forecast)
    for each in forecast.settings.incidents:
        if each.start is not None:
            yield from _about_incident(each, forecast)
    yield from _about_shelves(forecast)
    busiest = max((float(day.customers.max()) / 3600 for day in forecast.days), default=0.0)
    if busiest > CUSTOMERS_PER_WORKER_SECOND:
        yield (
            f"In the busiest hour {count(busiest)} customers/s arrive; one worker handles about "
            f"{count(CUSTOMERS_PER_WORKER_SECOND)}/s. Run more workers, or raise min_sale_freq and max_sale_freq."
        )


def _about_time(forecast: Forecast) -> Iterator[str]:
    catch_up, speed = forecast.catch_up, forecast.settings.clock.speed
    if catch_up is None:
        return
    if catch_up.seconds is None:
        falls = "it stays as far behind as it is" if speed == 1 else "it falls further and further behind"
        yield f"At speed {speed:g} the shop is never live: {falls}. Expected a speed above 1, max, or start = now."
    elif catch_up.seconds > LONG_CATCH_UP_SECONDS:
        at = "as fast as possible" if speed is None else f"at speed {speed:g}"
        yield (
            f"It takes about {length(catch_up.seconds)} until it {'closes' if catch_up.closes else 'is live'}, {at}. "
            f"A later start{'' if speed is None else ' or a higher speed'} shortens this."
        )
    if speed is not None and catch_up.a_second > CUSTOMERS_PER_WORKER_SECOND:
        yield (
            f"At speed {speed:g} about {count(catch_up.a_second)} customers/s arrive; one worker handles about "
            f"{count(CUSTOMERS_PER_WORKER_SECOND)}/s. The shop will fall behind its clock."
        )
    if catch_up.messages > MANY_MESSAGES:
        yield f"{count(catch_up.messages)} messages lie between its start and now: more than most disks can hold."


def _about_days(forecast: Forecast) -> Iterator[str]:
    days = forecast.days
    if not any(any(day.open) for day in days):
        yield (
            f"The shop is closed in all of {days[0].date} to {days[-1].date}: these days are before its first "
            "moment or after its last, or [HOURS] has no hours for them."
        )
        return
    closed = [day for day in days if not day.spans and not any(day.open)]
    if closed:
        named = [f"{day.date:%a} {day.date}" + (f" ({day.why})" if day.why else "") for day in closed]
        yield f"Closed all day: {_some(named)}."
    idle = [f"{day.date:%a} {day.date}" for day in days if any(day.open) and not day.total]
    if idle:
        yield f"Open, but no customers arrive: {_some(idle)}. [VOLUME] is 0, or an incident has factor 0."


def _about_incident(each: IncidentSettings, forecast: Forecast) -> Iterator[str]:
    plan = forecast.plan
    assert each.start is not None
    incident = incident_of(each, each.name, plan.calendar.utc(each.start) // MINUTE)
    name = f"[INCIDENT {each.name}]"
    if incident.end <= plan.opened_at:
        yield f"{name} ends before the shop's opening, {plan.calendar.local(plan.opened_at):%Y-%m-%d %H:%M}."
    elif forecast.closes_at is not None and incident.start > forecast.closes_at:
        yield f"{name} begins after the shop's last moment, {plan.calendar.local(forecast.closes_at):%Y-%m-%d %H:%M}."
    elif not incident.is_supply and incident.end > incident.start:
        first, last = incident.start // MINUTE, incident.end // MINUTE
        days = (np.arange(at, min(at + DAY_MINUTES, last), dtype=np.int64) for at in range(first, last, DAY_MINUTES))
        if not any(plan.calendar.activity(minutes).any() for minutes in days):
            lasts = length(each.duration.total_seconds())
            yield f"{name} lies in closed hours, {each.start:%Y-%m-%d %H:%M} for {lasts}: it has no effect."
        elif each.factor == 1.0 and not each.discount:
            yield f"{name} has a factor of 1 and no discount: it changes nothing."


def _about_shelves(forecast: Forecast) -> Iterator[str]:
    supply = forecast.plan.supply
    badly = [each for each in forecast.short if each.share >= BAD_LOSS_SHARE]
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
            f"Customers will find too little of {_products(len(slow))}, because min_inventory is "
            f"{supply.min_inventory} and restock_amount {supply.restock_amount}: {worst}. "
            f"Recommended: {low} of {count(enough)} or more."
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
    more = len(words) - MAX_EXAMPLES
    return ", ".join(words[:MAX_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
