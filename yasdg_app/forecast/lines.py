"""The forecast as lines for people."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yasdg_app.config.rules import WEEKDAYS
from yasdg_app.config.settings import SupplierSettings
from yasdg_app.forecast.model import MAX_DAYS_HOUR_BY_HOUR, Forecast, ForecastDay, by_hour
from yasdg_app.forecast.supply import mean_lead_time
from yasdg_app.shop.incident import Incident
from yasdg_app.text import cell, count, length, printable, printable_path

MAX_DAYS_DAY_BY_DAY = 31  # shown one by one; more days are shown month by month
MAX_INCIDENTS_PRINTED = 30
MAX_SHORTAGES_PRINTED = 5  # products
CLOSED_HOUR = "·"  # for an hour in which the shop is closed


def lines(forecast: Forecast) -> Iterator[str]:
    """Yield the lines of the human-readable output."""
    yield from _headline(forecast)
    yield ""
    if len(forecast.days) <= MAX_DAYS_DAY_BY_DAY:
        yield from _days(forecast)
    else:
        yield from _months(forecast)
    yield ""
    yield from _grid(forecast)
    yield ""
    yield from _incidents(forecast)
    yield ""
    yield from _supply(forecast)
    if forecast.warnings:
        yield ""
        yield "1 warning:" if len(forecast.warnings) == 1 else f"{len(forecast.warnings)} warnings:"
        yield from (f"  ! {warning}" for warning in forecast.warnings)


def _headline(forecast: Forecast) -> Iterator[str]:
    settings, plan = forecast.settings, forecast.plan
    source = "defaults" if settings.source is None else printable_path(settings.source, Path.cwd())
    mean = settings.sales.mean_seconds_between_sales
    pace = f"one every {length(mean)}" if mean >= 1 else f"{count(1 / mean)} per second"
    yield f"{source}: {len(plan.products)} products, customers: {pace} on average while open"
    clock = settings.clock
    start = "now; shown from today's midnight" if clock.start is None else local(forecast, plan.opened_at)
    speed = "" if clock.start is None else f", {at_speed(clock.speed)}"
    end = "no end" if forecast.closes_at is None else f"end {local(forecast, forecast.closes_at)}"
    skipped = "skipped" if clock.on_restart == "skip" else "backfilled"
    yield f"Clock: {clock.time_zone}, start {start}{speed}, {end}; time without a worker: {skipped}"
    if forecast.catch_up is not None:
        catch_up = forecast.catch_up
        ends = "closes" if catch_up.closes else "is live"
        takes = "never finishes"
        if catch_up.seconds is not None:
            takes = f"takes about {length(catch_up.seconds)} {at_speed(settings.clock.speed)}, then it {ends}"
        yield (
            f"Catch-up: {length(catch_up.behind.total_seconds())} of the shop, {count(catch_up.customers)} customers "
            f"and {count(catch_up.restocks)} restocks; {takes}"
        )
    if settings.sales.number_of_sales:
        when = "later than these days" if forecast.last_sale is None else f"about {local(forecast, forecast.last_sale)}"
        yield f"Closes after {settings.sales.number_of_sales:,} sales: {when}"


def at_speed(speed: float | None) -> str:
    """Return the speed of the shop's clock as a text."""
    return "as fast as possible" if speed is None else f"at speed {speed:g}"


def local(forecast: Forecast, at: int) -> str:
    """Return a time on the shop's clock."""
    return f"{forecast.plan.calendar.local(at):%Y-%m-%d %H:%M}"


def _days(forecast: Forecast) -> Iterator[str]:
    rows = [("day", "hours", "customers", "lost", "incidents")]
    for day in forecast.days:
        hours = day.hours + (f" ({day.why})" if day.why else "")
        rows.append((f"{day.date:%a} {day.date}", hours, count(day.total), _lost(day), _few(day.incidents)))
    rows.append(("all", "", count(forecast.customers), _share(forecast.lost, forecast.customers), ""))
    yield from _aligned(rows, right=(2, 3))


def _months(forecast: Forecast) -> Iterator[str]:
    months: dict[str, list[ForecastDay]] = {}
    for day in forecast.days:
        months.setdefault(f"{day.date:%Y-%m}", []).append(day)
    rows = [("month", "open", "customers", "a day", "lost", "incidents")]
    for month, days in months.items():
        opened = sum(any(day.open) for day in days)
        total, lost = sum(day.total for day in days), sum(float(day.lost.sum()) for day in days)
        incidents = {each.name: each for day in days for each in day.incidents}
        rows.append(
            (
                month, f"{opened} of {len(days)} days", count(total), count(total / max(opened, 1)),
                _share(lost, total), _few(list(incidents.values())),
            )
        )  # fmt: skip
    total = forecast.customers
    rows.append(("all", "", count(total), count(total / len(forecast.days)), _share(forecast.lost, total), ""))
    yield from _aligned(rows, right=(2, 3, 4))


def _lost(day: ForecastDay) -> str:
    return _share(float(day.lost.sum()), day.total)


def _share(lost: float, total: float) -> str:
    if lost <= 0.0 or total <= 0.0:
        return ""
    return f"{lost / total:.0%}" if lost / total >= 0.005 else "<1%"


def _few(incidents: Sequence[Incident]) -> str:
    more = len(incidents) - 2
    return ", ".join(each.name for each in incidents[:2]) + (f", {more} more" if more > 0 else "")


def _aligned(rows: Sequence[tuple[str, ...]], right: Sequence[int] = ()) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _grid(forecast: Forecast) -> Iterator[str]:
    """Yield the expected customers of each hour: day by day, or for a typical week."""
    mean = "" if len(forecast.days) <= MAX_DAYS_HOUR_BY_HOUR else ", mean of the days"
    yield f"Expected customers by the hour{mean}:"
    rows = [("", *(f"{hour:02}" for hour in range(24)))]
    for name, opened, customers in by_hour(forecast):
        cells = (cell(value) if is_open else CLOSED_HOUR for is_open, value in zip(opened, customers, strict=True))
        rows.append((name, *cells))
    yield from _aligned(rows, right=range(1, 25))


def _incidents(forecast: Forecast) -> Iterator[str]:
    here = forecast.incidents
    if not here:
        yield "No incidents in these days."
        return
    yield f"{len(here)} incident{'' if len(here) == 1 else 's'} in these days:"
    rows = [("", "start", "end", "kind", "effect", "concerns")]
    for each in here[:MAX_INCIDENTS_PRINTED]:
        kind = each.kind + (" (closed hours)" if in_closed_hours(forecast, each) else "")
        rows.append(
            (each.name, local(forecast, each.start), local(forecast, each.end), kind, effect(each), concerns(each))
        )
    yield from _aligned(rows)
    if len(here) > MAX_INCIDENTS_PRINTED:
        yield f"… {len(here) - MAX_INCIDENTS_PRINTED} more; --json prints all"


def in_closed_hours(forecast: Forecast, each: Incident) -> bool:
    """Return whether an incident that affects customers lies entirely in closed hours of the days shown."""
    if each.is_supply:
        return False
    first = max(int(np.searchsorted(forecast.edges, each.start, side="right")) - 1, 0)
    last = int(np.searchsorted(forecast.edges, each.end, side="left"))
    hours = range(first, min(last, 24 * len(forecast.days)))
    whole = each.start >= forecast.edges[0] and each.end <= forecast.edges[-1]
    return whole and not any(forecast.days[hour // 24].open[hour % 24] for hour in hours)


def effect(each: Incident) -> str:
    """Return the effect of an incident in short form."""
    words = [f"deliveries × {each.factor:g}"] if each.is_supply else []
    if not each.is_supply and each.factor != 1.0:
        words.append(f"demand × {each.factor:g}")
    if each.discount:
        words.append(f"−{each.discount / 100:g} % price")
    return ", ".join(words) or "none"


def concerns(each: Incident) -> str:
    """Return the scope of an incident as a text."""
    return ", ".join(printable(name) for name in (*sorted(each.categories), *sorted(each.products))) or "all"


def _supply(forecast: Forecast) -> Iterator[str]:
    settings, supply = forecast.settings, forecast.plan.supply
    yield (
        f"Supply: a shelf of {count(supply.min_inventory)} units or fewer is restocked "
        f"by {count(supply.restock_amount)}"
    )
    suppliers = (*settings.suppliers, settings.supply)
    yield from (f"  {each.name or 'supplier'}: {supplier(each)}" for each in suppliers)
    if not forecast.short:
        yield "  No customer is expected to find too little."
        return
    of = (
        ""
        if forecast.simulated_products == len(forecast.plan.products)
        else f", of {forecast.simulated_products} products that were simulated"
    )
    yield (
        f"  About {count(forecast.lost)} customers ({_share(forecast.lost, forecast.customers) or 'hardly any'}) "
        f"are expected to find too little{of}; the products most affected:"
    )
    rows = [
        (
            f"    {each.product.product_id}", printable(each.product.item), f"{_share(each.share, 1.0)} lost",
            f"{count(each.a_day)} units a day,",
            f"up to {count(each.in_lead_time)} in the {length(each.lead_time.total_seconds())} of an order",
        )
        for each in forecast.short[:MAX_SHORTAGES_PRINTED]
    ]  # fmt: skip
    yield from _aligned(rows, right=(2, 3))


def supplier(each: SupplierSettings) -> str:
    """Return a supplier's delivery terms as a text."""
    least, usual, longest = (length(time.total_seconds()) for time in each.lead_time)
    takes = f"takes {least}" if least == longest else f"takes {least} to {longest}, mostly {usual}"
    words = ["delivers at once" if not each.lead_time[2] else takes]
    if len(each.delivery_days) < len(WEEKDAYS):
        days = ", ".join(WEEKDAYS[day].title() for day in each.delivery_days)
        words.append(f"on {days} only: {length(mean_lead_time(each).total_seconds())} on average")
    if each.partial_freq:
        words.append(f"{each.partial_freq:g} of 10 deliveries in parts")
    if each.categories:
        words.append(f"of {', '.join(printable(name) for name in each.categories)}")
    return "; ".join(words)
