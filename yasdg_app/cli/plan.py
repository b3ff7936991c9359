"""`yasdg plan`: shows in advance what a configuration will do, as a table and as a picture."""

import time
from datetime import date
from pathlib import Path

import click
import orjson
from faust.cli import option

from yasdg_app.cli.base import OfflineCommand, ShopCommand, command
from yasdg_app.config import rules
from yasdg_app.errors import YasdgError
from yasdg_app.forecast.data import as_data
from yasdg_app.forecast.forecast import forecast_shop
from yasdg_app.forecast.lines import lines
from yasdg_app.forecast.picture import FORMATS, draw
from yasdg_app.text import printable

MAX_DAYS = 3_660


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
