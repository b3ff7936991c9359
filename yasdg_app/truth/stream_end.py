"""Where a generated stream ends, and whether it contains any sale until then."""

from datetime import datetime, timedelta

from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.config.settings import Settings
from yasdg_app.errors import YasdgError
from yasdg_app.messages.times import time_text
from yasdg_app.shop.demand import microseconds
from yasdg_app.shop.plan import Plan
from yasdg_app.truth.offline_stream import FOREVER, most_expected

NOW = "now"
MIN_EXPECTED_SALES = 1e-3  # expected sales in total: with fewer, no sale is expected

Until = datetime | timedelta | str | None
"""A time on the shop's clock, a duration after its opening, NOW, or None for what is configured."""


class GenerateError(YasdgError):
    """The requested stream cannot be generated."""


def last_event_time(settings: Settings, plan: Plan, now: int, what: str, until: Until, rows: int | None) -> int:
    """Return the last event time that is generated, inclusive. Raises GenerateError if the stream has no end."""
    closes_at = last_moment(settings, plan.opened_at)
    counted = settings.sales.number_of_sales or (rows is not None and what == "purchases")
    if isinstance(until, timedelta):
        end = plan.opened_at + microseconds(until)
    elif isinstance(until, datetime):
        end = plan.calendar.utc(until)
    elif what == "products" or (until is None and (closes_at is not None or counted)):
        end = FOREVER + 1
    elif plan.opened_at < now:
        end = now + 1
    else:
        count = ", -n 1000" if what == "purchases" else ""
        opens = "now" if plan.opened_at == now else "in the future"
        raise GenerateError(
            f"The shop opens {opens}, and the stream has no end. Set one: "
            f"--until 1h{count}, or set a start in the past: YASDG_CLOCK_START=30d"
        )
    if end <= plan.opened_at:
        raise GenerateError(
            f"--until {until} is not after the shop's opening, {time_text(plan.opened_at)} (UTC). "
            "Expected a later time, or a duration such as 30d"
        )
    return (end if closes_at is None else min(end, closes_at)) - 1


def most_sales(settings: Settings, what: str, rows: int | None) -> int:
    """Return the maximum number of sales of a stream; 0: no maximum."""
    number = settings.sales.number_of_sales
    return min(filter(None, (number, rows)), default=0) if what == "purchases" else number or rows or 0


def require_enough_sales(settings: Settings, plan: Plan, last: int, wanted: int) -> None:
    """Reject a shop whose sales are so rare that the search for them would not end. Raises GenerateError.

    `last`: last event time, inclusive; `wanted`: number of sales after which the stream ends, 0: none.
    """
    expected = most_expected(settings, plan, last)
    if expected < MIN_EXPECTED_SALES or (last == FOREVER and expected < wanted):
        within_a_year = most_expected(settings, plan, min(last, plan.opened_at + microseconds(timedelta(days=365))))
        count = f"at most {expected:,.0f}" if expected >= 1 else "less than one"
        raise GenerateError(
            f"Sales are too rare: {count} can be expected up to {time_text(last)[:10]}"
            f"{f', and {wanted:,} are requested' if wanted else ''}. Expected a lower [SALES] min_sale_freq and "
            f"max_sale_freq than {settings.sales.min_sale_freq:g} and {settings.sales.max_sale_freq:g} seconds"
            + (", or an end such as --until 365d" if within_a_year >= 1 else "")
        )


def reproduction_hint(opened_at: int) -> str:
    """Return how to reproduce the stream of a shop whose opening depends on the time of the run."""
    return f"\nTo reproduce the stream of this shop: --opened-at '{time_text(opened_at)}'"
