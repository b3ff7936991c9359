"""`yasdg plan`: shows in advance what a configuration will do, as a table and as a picture."""

import time
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
import orjson
from faust.cli import option

from yasdg_app.cli.base import OfflineCommand, ShopCommand, command
from yasdg_app.cli.picture import FORMATS, draw
from yasdg_app.cluster_state.lifetime import first_moment, last_moment
from yasdg_app.config import catalog, rules
from yasdg_app.config.rules import WEEKDAYS
from yasdg_app.config.settings import Settings, SupplierSettings
from yasdg_app.errors import YasdgError
from yasdg_app.forecast.forecast import forecast_days
from yasdg_app.forecast.model import MAX_DAYS_HOUR_BY_HOUR, Forecast, ForecastDay, by_hour
from yasdg_app.forecast.supply import mean_lead_time
from yasdg_app.forecast.warnings import BAD_LOSS_SHARE
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Plan
from yasdg_app.text import cell, count, length, printable, printable_path

MAX_DAYS = 3_660
MAX_DAYS_DAY_BY_DAY = 31  # shown one by one; more days are shown month by month
MAX_INCIDENTS_PRINTED = 30  # in the human-readable output
MAX_SHORTAGES_PRINTED = 5  # products, likewise
CLOSED_HOUR = "·"  # for an hour in which the shop is closed


class PlanError(YasdgError):
    """The requested plan cannot be shown."""


def _picture(_: click.Context, __: click.Parameter, value: str | None) -> Path | None:
    if value is None:
        return None
    path = Path(value)
    if path.suffix.lower() not in FORMATS:
        raise click.BadParameter(f"{printable(value)}: expected a name that ends in {' or '.join(FORMATS)}")
    return path


def _date(_: click.Context, __: click.Parameter, value: str | None) -> date | None:
    rule = rules.day()
    try:
        return None if value is None else rule.read(value)
    except rules.InvalidValueError as error:
        raise click.BadParameter(f"{printable(value or '')}: expected {error}") from None


@command(
    option("--picture", callback=_picture, metavar="FILE", help="Also draw it: plan.svg or plan.png."),
    option(
        "--from", "first", callback=_date, metavar="DATE",
        help="First day, such as 2026-01-05. (default: the day of the opening)",
    ),
    option("--days", type=click.IntRange(1, MAX_DAYS), default=7, show_default=True, help="Number of days."),
    option("--json", "as_json", is_flag=True, help="Print the plan as JSON."),
    base=OfflineCommand,
)  # fmt: skip
async def plan(self: ShopCommand, picture: Path | None, first: date | None, days: int, as_json: bool) -> int | None:
    """Show what the configuration will do: expected customers per hour, incidents, opening hours, deliveries.

    The plan is that of a shop that opens now; it needs neither a shop nor a broker. Numbers are expected values, and
    chance adds to them; incidents at random times are those that will happen. Warnings about likely configuration
    mistakes are at the end.

    Examples: yasdg plan; yasdg plan --picture plan.svg; yasdg plan --from 2026-01-05 --days 365
    """
    self.print_notes()
    forecast = forecast_shop(self.shop.settings, self.shop.products, time.time_ns() // 1000, first, days)
    if picture is not None:
        try:
            picture.write_bytes(draw(forecast, picture.suffix.lower()))
        except OSError as error:
            raise PlanError(f"--picture {picture}: cannot be written: {error.strerror}") from None
    if as_json:
        print(orjson.dumps(as_data(forecast), option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(lines(forecast)))
    return None


def forecast_shop(
    settings: Settings, products: Sequence[catalog.Product], now: int, first: date | None = None, days: int = 7
) -> Forecast:
    """Forecast a shop that is opened `now`. Raises OpeningError if it cannot be opened."""
    opened_at = first_moment(settings, now)
    of = Plan.of(settings, products, opened_at)
    if settings.clock.start is None:  # from the start of today, so that the result is the same at any hour
        midnight = datetime.combine(of.calendar.local(now).date(), datetime.min.time())
        opened_at = of.calendar.utc(midnight)
        of = Plan.of(settings, products, opened_at)
    closes_at = last_moment(settings, opened_at)
    return forecast_days(settings, of, closes_at, now, first, days)


# --- Human-readable output ------------------------------------------------------------------------------------------


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
    of = "" if forecast.looked_at == len(forecast.plan.products) else f", of {forecast.looked_at} products looked at"
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


# --- Machine-readable output ----------------------------------------------------------------------------------------


def as_data(forecast: Forecast) -> dict[str, Any]:
    """Return the whole forecast for JSON; times are the shop's, with their offset from UTC."""
    settings, plan = forecast.settings, forecast.plan
    catch_up = forecast.catch_up
    return {
        "configuration": str(settings.source) if settings.source else None,
        "products": len(plan.products),
        "customers_per_second_while_open": 1 / settings.sales.mean_seconds_between_sales,
        "clock": {
            "time_zone": settings.clock.time_zone,
            "start": _time(forecast, plan.opened_at),
            "end": None if forecast.closes_at is None else _time(forecast, forecast.closes_at),
            "speed": "max" if settings.clock.speed is None else settings.clock.speed,
            "on_restart": settings.clock.on_restart,
        },
        "catch_up": catch_up and {
            "behind_seconds": catch_up.behind.total_seconds(),
            "customers": catch_up.customers,
            "restocks": catch_up.restocks,
            "seconds": catch_up.seconds,
            "closes": catch_up.closes,
        },
        "number_of_sales": settings.sales.number_of_sales,
        "last_sale": None if forecast.last_sale is None else _time(forecast, forecast.last_sale),
        "customers": forecast.customers,
        "lost": forecast.lost,
        "days": [
            {
                "date": str(day.date),
                "weekday": WEEKDAYS[day.date.weekday()],
                "hours": day.hours,
                "why": day.why or None,
                "open": day.open,
                "customers": day.customers.tolist(),
                "lost": day.lost.tolist(),
                "incidents": [each.name for each in day.incidents],
            }
            for day in forecast.days
        ],
        "customers_by_category": {name: float(values.sum()) for name, values in forecast.by_category.items()},
        "incidents": [
            {
                "name": each.name,
                "kind": each.kind,
                "start": _time(forecast, each.start),
                "end": _time(forecast, each.end),
                "factor": each.factor,
                "discount": each.discount / 10_000,
                "categories": sorted(each.categories),
                "products": sorted(each.products),
            }
            for each in forecast.incidents
        ],
        "supply": {
            "min_inventory": plan.supply.min_inventory,
            "restock_amount": plan.supply.restock_amount,
            "suppliers": [
                {
                    "name": each.name or None,
                    "categories": each.categories,
                    "lead_time_seconds": [time.total_seconds() for time in each.lead_time],
                    "delivery_days": [WEEKDAYS[day] for day in each.delivery_days],
                    "partial_freq": each.partial_freq,
                    "mean_seconds": mean_lead_time(each).total_seconds(),
                }
                for each in (*settings.suppliers, settings.supply)
            ],
            "products_looked_at": forecast.looked_at,
            "short": [
                {"product_id": each.product.product_id, "lost_share": each.share, "badly": each.share >= BAD_LOSS_SHARE}
                for each in forecast.short
            ],
        },
        "warnings": forecast.warnings,
    }  # fmt: skip


def _time(forecast: Forecast, at: int) -> str:
    shows = forecast.plan.calendar.local(at)
    ahead = shows - (datetime(1970, 1, 1) + timedelta(microseconds=at))
    minutes = round(ahead / timedelta(minutes=1))
    return f"{shows.isoformat()}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
