"""Parses the options that several commands have for windows, durations and event times."""

from datetime import datetime

import click

from yasdg_app.config import rules
from yasdg_app.messages.times import event_time
from yasdg_app.shop.demand import microseconds
from yasdg_app.text import printable
from yasdg_app.truth.source import ALL, SECOND


def window_option(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """Parse the length of a window: microseconds, or ALL."""
    if value is None or value.lower() == ALL:
        return value and ALL
    try:
        length = microseconds(rules.duration().read(value))
        if length % SECOND == 0:
            return length
    except rules.InvalidValueError:
        pass
    raise click.BadParameter(f"{printable(value)}: expected whole seconds such as 10s, 1m, 1h or 1d, or all")


def lateness_option(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Parse an allowed lateness, in microseconds."""
    try:
        return None if value is None else microseconds(rules.duration(zero=True).read(value))
    except rules.InvalidValueError as error:
        raise click.BadParameter(f"{printable(value or '')}: expected {error}") from None


def time_option(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Parse an event time, in UTC."""
    try:
        if value is None:
            return None
        moment = datetime.fromisoformat(value)
        if moment.utcoffset() is None or not moment.utcoffset():
            moment = moment.replace(tzinfo=None)
            if rules.FIRST_DATE <= moment.date() <= rules.LAST_DATE:
                return event_time(str(moment))
    except ValueError:
        pass
    raise click.BadParameter(f"{printable(value or '')}: expected a time (UTC) such as '2026-01-01 08:30'")


def event_time_option(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Parse an event time, to the microsecond."""
    try:
        if value is None:
            return None
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None and rules.FIRST_DATE <= moment.date() <= rules.LAST_DATE:
            return event_time(value)
    except ValueError:
        pass
    raise click.BadParameter(f"{printable(value or '')}: expected a time (UTC) such as 2026-01-01 08:30:00.123456")
