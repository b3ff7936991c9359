"""The event times at which a shop begins and ends, from [CLOCK] start and end. Pure: reads no clock and no cluster."""

from datetime import datetime, timedelta

from yasdg_app.cluster_state.manifest import OpeningError
from yasdg_app.config.settings import Settings
from yasdg_app.messages.times import time_text
from yasdg_app.shop.calendar import Calendar
from yasdg_app.shop.demand import microseconds


def first_moment(settings: Settings, now: int) -> int:
    """Return the event time at which a shop begins that is opened at `now`; both microseconds since 1970.

    Raises OpeningError if [CLOCK] start is in the future.
    """
    start = settings.clock.start
    if start is None:
        return now
    if isinstance(start, timedelta):
        return now - microseconds(start)
    opened_at = _utc(settings, start)
    if opened_at > now:
        raise OpeningError(
            f"[CLOCK] start = {start} ({settings.clock.time_zone}) is in the future: expected an earlier time, or now"
        )
    return opened_at


def last_moment(settings: Settings, opened_at: int) -> int | None:
    """Return the event time at which the shop closes for good, microseconds since 1970; None if it never does.

    `opened_at`: event time of its first moment. Raises OpeningError if [CLOCK] end is not after it.
    """
    end = settings.clock.end
    if end is None:
        return None
    closes_at = opened_at + microseconds(end) if isinstance(end, timedelta) else _utc(settings, end)
    if closes_at <= opened_at:
        raise OpeningError(
            f"[CLOCK] end = {end} is not after the shop's first moment, {time_text(opened_at)} (UTC). "
            "Expected a later time, a duration such as 30d, or never"
        )
    return closes_at


def _utc(settings: Settings, local: datetime) -> int:
    return Calendar(settings.clock, settings.hours, settings.volume, 0).utc(local)
