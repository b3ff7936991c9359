"""Numbers, durations, texts and paths as people read them."""

from itertools import pairwise
from pathlib import Path


def count(number: float) -> str:
    """Return a number of things for people: 12,345 or 3.4 million."""
    for unit, name in ((1e9, " billion"), (1e6, " million")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.2g}"


def cell(value: float) -> str:
    """Return a number of customers in five characters at most."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= unit:
            scaled = value / (1e3 if name == "k" else unit)
            return f"{scaled:.0f}{name}" if scaled >= 100 else f"{scaled:.1f}{name}"
    return f"{value:.0f}" if value >= 10 or not value else f"{value:.1f}"


def length(seconds: float) -> str:
    """Return a length of time for people, in its two largest units."""
    if 0 < seconds < 1:
        return f"{seconds:.2g} s"
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (size, name), (smaller, smaller_name) in pairwise(units):
        whole, rest = divmod(round(seconds / smaller), size // smaller)
        if whole:
            return f"{whole} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{seconds:.0f} s"


def printable(text: str, max_chars: int = 80) -> str:
    """Return `text` on one line, safe for a terminal: control characters escaped, cut to `max_chars` characters."""
    short = text if len(text) <= max_chars else text[: max_chars - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)


def printable_path(path: Path, cwd: Path) -> str:
    """Return `path` as somebody in the folder `cwd` would write it."""
    return printable(str(path.relative_to(cwd) if path.is_relative_to(cwd) else path), max_chars=4096)
