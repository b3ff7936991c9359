"""The picture of `yasdg plan`: customers over time by category, incidents below them, and customers by hour of day.

It is byte for byte the same for the same forecast and the same matplotlib, which is imported only to draw it.
"""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from yasdg_app.forecast.model import MAX_DAYS_HOUR_BY_HOUR, Forecast, ForecastDay, by_hour
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.incidents import DAY
from yasdg_app.shop.randomness import Floats
from yasdg_app.text import cell, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
SIZE_INCHES = (12.0, 8.0)  # inches, of 100 points
MAX_NAMED_DAYS = 10  # days with a separate label on the axis
MAX_INCIDENT_ROWS = 6  # of incidents
LEGEND_CHARACTERS = 120  # total characters of all names
CHARACTER_WIDTH = 0.0056  # width of a label's character, as a fraction of the total width

COLORS = ("#4e79a7", "#59a14f", "#f28e2b", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#bab0ac")
KINDS = {
    "storm": "#5b6c8f", "power_outage": "#333333", "promotion": "#2f8f4e", "viral": "#d1478c", "road_works": "#b8860b",
    "supply": "#c0392b", "custom": "#7f5fa8",
}  # fmt: skip
CLOSED, INK, LOST = "#efefef", "#333333", "#c0392b"
SHORT = {"power_outage": "power outage", "road_works": "road works"}


def draw(forecast: Forecast, form: str) -> bytes:
    """Return the picture as a file in a format, .png or .svg."""
    import matplotlib
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # independent of this machine's matplotlibrc
        matplotlib.rcParams.update({"svg.hashsalt": "yasdg", "svg.fonttype": "none", "font.size": 9})
        rows = _rows(forecast)
        figure = Figure(figsize=SIZE_INCHES, dpi=100)
        places = figure.add_gridspec(
            3, 1, height_ratios=(10.5, 0.4 + 0.75 * max(len(rows), 1), 7.5),
            left=0.105, right=0.975, top=0.885, bottom=0.05, hspace=0.24,
        )  # fmt: skip
        time = figure.add_subplot(places[0])
        figure.text(0.02, 0.965, _title(forecast), fontsize=13, fontweight="bold", color=INK)
        figure.text(0.02, 0.937, _subtitle(forecast), color=INK)
        _customers(time, forecast)
        _incidents(figure.add_subplot(places[1], sharex=time), forecast, rows)
        _hours(figure.add_subplot(places[2]), forecast)
        figure.savefig(file, format=form[1:], metadata={"Date": None, "Creator": "yasdg"} if form == ".svg" else {})
    return file.getvalue()


def _title(forecast: Forecast) -> str:
    first, last = forecast.days[0].date, forecast.days[-1].date
    name = forecast.settings.source.stem if forecast.settings.source else "defaults"
    return f"{name}: {first:%a} {first.day} {first:%b %Y}" + (
        f" to {last:%a} {last.day} {last:%b %Y}" if last != first else ""
    )


def _subtitle(forecast: Forecast) -> str:
    clock = forecast.settings.clock
    words = [f"{count(forecast.customers)} customers expected"]
    if forecast.lost:
        share = forecast.lost / max(forecast.customers, 1e-9)
        words.append(f"{share:.1%} of them may find too little")
    words.append(f"{len(forecast.plan.products)} products")
    words.append(clock.time_zone)
    if forecast.warnings:
        words.append(f"warnings: {len(forecast.warnings)}, see yasdg plan")
    return "  ·  ".join(words)


# --- Customers over time --------------------------------------------------------------------------------------------


def _customers(axes: "Axes", forecast: Forecast) -> None:
    """Draw customers by category; x is the index of the hour on the shop's clock."""
    hours, hourly = 24 * len(forecast.days), len(forecast.days) <= MAX_DAYS_HOUR_BY_HOUR
    step = 1 if hourly else 24
    x = np.arange(0, hours + 1, step)

    def steps(by_hour: Floats) -> Floats:
        values = by_hour.reshape(-1, step).sum(axis=1)
        return np.append(values, values[-1])

    layers = [steps(values) for values in forecast.by_category.values()]
    longest = LEGEND_CHARACTERS // (len(layers) + 1)
    names = [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in forecast.by_category]
    axes.stackplot(x, layers, labels=names, colors=COLORS, step="post", linewidth=0, zorder=2)
    lost = np.concatenate([day.lost for day in forecast.days])
    if lost.sum() > 0.005 * forecast.customers:
        axes.fill_between(x, steps(lost), step="post", color=LOST, linewidth=0, label="find too little", zorder=3)
    _shade(axes, forecast.days, hourly)
    axes.set_xlim(0, hours)
    top = float(sum(layers, np.zeros(len(x))).max())
    axes.set_ylim(0, top * 1.08 if top else 1.0)
    axes.set_ylabel(f"expected customers {'an hour' if hourly else 'a day'}", color=INK)
    axes.yaxis.set_major_formatter(lambda value, _: count(value))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6, zorder=1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(forecast.by_category) + 1, frameon=False,
        borderaxespad=0.2, handlelength=1.2, fontsize=8,
    )  # fmt: skip
    _dates(axes, forecast.days)


def _shade(axes: "Axes", days: Sequence[ForecastDay], hourly: bool) -> None:
    """Shade the hours, or the whole days, when the shop is closed."""
    opened = [is_open for day in days for is_open in day.open] if hourly else [any(day.open) for day in days]
    width, start = 1 if hourly else 24, None
    for place, is_open in enumerate([*opened, True]):
        if not is_open and start is None:
            start = place
        if is_open and start is not None:
            axes.axvspan(start * width, place * width, color=CLOSED, linewidth=0, zorder=0)
            start = None


def _dates(axes: "Axes", days: Sequence[ForecastDay]) -> None:
    """Write the dates below: of each day with its holiday, of some days, or of months."""
    if len(days) <= MAX_NAMED_DAYS:
        axes.set_xticks(range(0, 24 * len(days) + 1, 24), [""] * (len(days) + 1))
        axes.set_xticks([24 * place + 12 for place in range(len(days))], [_day(day) for day in days], minor=True)
        axes.tick_params(axis="x", which="minor", length=0, pad=4)
        for label, day in zip(axes.get_xticklabels(minor=True), days, strict=True):
            label.set_color(LOST if day.why else INK)
        return
    if len(days) <= 62:
        marks = {place: f"{day.date.day} {day.date:%b}" for place, day in enumerate(days) if not day.date.weekday()}
    else:
        every = 1 + len(days) // 500
        firsts = [(place, day) for place, day in enumerate(days) if day.date.day == 1]
        marks = {
            place: f"{day.date:%b}" + (f"\n{day.date.year}" if day.date.month == 1 or not number else "")
            for number, (place, day) in enumerate(firsts[::every])
        }
    axes.set_xticks([24 * place for place in marks], list(marks.values()))
    for place, day in enumerate(days):
        if day.why:
            axes.plot(24 * place + 12, 1.0, marker="v", color=LOST, markersize=4, clip_on=False,
                      transform=axes.get_xaxis_transform(), zorder=4)  # fmt: skip


def _day(day: ForecastDay) -> str:
    why = day.why if len(day.why) <= 18 else f"{day.why[:17]}…"
    return f"{day.date:%a} {day.date.day} {day.date:%b}" + (f"\n{why}" if why else "")


# --- Incidents ------------------------------------------------------------------------------------------------------

_AT_RANDOM = re.compile(r"-[0-9]{8}T[0-9]{4}(-[0-9]+)?")


def _rows(forecast: Forecast) -> dict[str, list[Incident]]:
    """Return incidents by their name in the configuration, one row each; those that do not fit share the last row."""
    rows: dict[str, list[Incident]] = {}
    random = {each.name for each in forecast.settings.incidents if each.start is None}
    for each in forecast.incidents:
        name = _AT_RANDOM.sub("", each.name)
        rows.setdefault(name if name in random else each.name, []).append(each)
    if len(rows) <= MAX_INCIDENT_ROWS:
        return rows
    names = list(rows)
    rest = [each for name in names[MAX_INCIDENT_ROWS - 1 :] for each in rows[name]]
    return {name: rows[name] for name in names[: MAX_INCIDENT_ROWS - 1]} | {
        f"{len(names) - MAX_INCIDENT_ROWS + 1} others": rest
    }


def _incidents(axes: "Axes", forecast: Forecast, rows: dict[str, list[Incident]]) -> None:
    """Draw a row of bars for each incident, with its effect."""
    hours = 24 * len(forecast.days)
    places, names = np.arange(hours + 1), []
    for row, (name, incidents) in enumerate(rows.items()):
        starts, ends = (
            np.interp(at, forecast.edges, places).tolist()
            for at in ([each.start for each in incidents], [each.end for each in incidents])
        )
        free = {effect(each): "" for each in incidents}  # labels that were not used yet
        reached = 0.0  # right end of the last label in the row
        for each, start, end, after in zip(incidents, starts, ends, [*starts[1:], hours], strict=True):
            color, text = KINDS[each.kind], label(each, forecast)
            axes.barh(row, max(end - start, hours / 600), left=start, height=0.62, color=color, alpha=0.85)
            width = CHARACTER_WIDTH * hours * (len(text) + 2)
            if effect(each) in free and (end + width <= after or start - width >= reached):
                behind = end + width <= after
                x, words, place = (end, f" {text}", "left") if behind else (start, f"{text} ", "right")
                axes.text(x, row, words, va="center", ha=place, fontsize=8, color=color)
                del free[effect(each)]
            reached = max(reached, end)
        short = name if len(name) <= 16 else f"{name[:15]}…"
        names.append(short if not free else f"{short} {next(iter(free)).partition(' ')[2]}")
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.tick_params(axis="x", which="both", length=0, labelbottom=False)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#fafafa")
    if not rows:
        axes.set_yticks([0], ["no incidents"], fontsize=8)


def label(each: Incident, forecast: Forecast) -> str:
    """Return the label of an incident: its effect, and its time if days are wide enough to show it."""
    if len(forecast.days) > MAX_NAMED_DAYS:
        return effect(each)
    start, end = (forecast.plan.calendar.local(at) for at in (each.start, each.end))
    whole = each.end - each.start <= DAY
    return f"{effect(each)}, {start:%H:%M} to {end:{'%H:%M' if whole else '%a %H:%M'}}"


def effect(each: Incident) -> str:
    """Return kind and effect of an incident in a few characters."""
    words = [SHORT.get(each.kind, each.kind)]
    if each.factor != 1.0 or each.is_supply:
        words.append(f"×{each.factor:g}")
    if each.discount:
        words.append(f"−{each.discount / 100:g} %")
    return " ".join(words)


# --- Hours of the day -----------------------------------------------------------------------------------------------


def _hours(axes: "Axes", forecast: Forecast) -> None:
    """Draw days, or weekdays, by hour: darker for more customers, grey for closed hours."""
    rows = list(by_hour(forecast))
    values = np.array([customers for _, _, customers in rows])
    opened = np.array([is_open for _, is_open, _ in rows], dtype=bool)
    top = float(values.max()) or 1.0
    axes.set_facecolor(CLOSED)
    shown = np.ma.masked_array(values, ~opened)
    axes.pcolormesh(shown, cmap="YlGnBu", vmin=0.0, vmax=top, edgecolors="white", linewidth=1.0)
    for row in range(len(rows)):
        for hour in np.flatnonzero(opened[row]).tolist():
            value = float(values[row, hour])
            color = "white" if value > 0.55 * top else INK
            axes.text(hour + 0.5, row + 0.5, cell(value), ha="center", va="center", fontsize=8, color=color)
    axes.set_ylim(len(rows), 0)
    axes.set_xticks([hour + 0.5 for hour in range(24)], [f"{hour:02}" for hour in range(24)])
    axes.set_yticks([row + 0.5 for row in range(len(rows))], [name for name, _, _ in rows], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    of = "each hour" if len(rows) == len(forecast.days) else "each hour of a usual week"
    axes.set_title(f"Expected customers in {of}; grey: closed", loc="left", fontsize=10, color=INK)
