"""Formatting of results: medians, ratios of runs made in turn, a table with bars for docs/performance.md."""

from collections.abc import Iterable, Mapping, Sequence
from math import floor, log10
from statistics import median

WIDTH = 20  # characters of the longest bar
EIGHTHS = ["", *"▏▎▍▌▋▊▉"]

Figures = Mapping[str, Sequence[float]]
"""The measured values of each contender, by round."""


def ratio(figures: Figures, name: str, reference: str) -> float:
    """Return the median of the ratios of all rounds: what slows down a whole round does not change it."""
    return median(a / b for a, b in zip(figures[name], figures[reference], strict=True))


def compared(figures: Figures, reference: str, unit: str) -> str:
    """Return the medians of all contenders and their ratios to the reference, with bars."""
    medians = {name: median(values) for name, values in figures.items()}
    rows = [
        (name, f"{medians[name]:,.0f}", number(ratio(figures, name, reference)), bar(medians[name], medians.values()))
        for name in sorted(figures, key=medians.__getitem__, reverse=True)
    ]
    rounds = len(figures[reference])
    return table(("", f"{unit}, median of {rounds}", f"× {reference}", ""), rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table that is readable as plain text."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def bar(value: float, others: Iterable[float]) -> str:
    """Return a bar for `value`, relative to the largest of `others`; at least one character long."""
    eighths = max(1, round(value / max(others) * WIDTH * 8)) if value > 0 else 0
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8]


def limit(what: str, value: float, least: float) -> str:
    """Return a line that says whether a lower limit is met."""
    return f"{'kept' if value >= least else 'MISSED'}: {what} is {number(value)}, at least {least:,g} is wanted"


def at_most(what: str, value: float, most: float) -> str:
    """Return a line that says whether an upper limit is met."""
    return f"{'kept' if value <= most else 'MISSED'}: {what} is {number(value)}, at most {most:,g} is wanted"


def number(value: float) -> str:
    """Return a number with three digits, or with all digits before the decimal point."""
    digits = 2 - floor(log10(abs(value))) if value else 0
    return f"{value:,.{max(0, digits)}f}"
