"""Compares an engine's output, a file, with the truth about a shop."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from yasdg_app.messages.times import time_text
from yasdg_app.text import length, printable
from yasdg_app.truth import compare_purchases as purchases
from yasdg_app.truth import compare_sums as sums
from yasdg_app.truth.engine_files import FileError, Source
from yasdg_app.truth.engine_values import NULL, UNREADABLE, times
from yasdg_app.truth.events import blocks
from yasdg_app.truth.price_columns import BulkPricing
from yasdg_app.truth.report import ComparisonReport
from yasdg_app.truth.source import ALL, SECOND, TruthSource
from yasdg_app.truth.tables import VALUES
from yasdg_app.truth.windows import BY, Keys, sorted_products

MINUTE = 60_000_000  # microseconds


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """The options for a file: see the options of `verify`. Times are in microseconds."""

    window: int | str | None = None
    by: str | None = None
    begin: int | None = None
    end: int | None = None
    lateness: int | None = None
    deduplicated: bool = False
    columns: tuple[str, ...] = ()


class VerifyProgress(Protocol):
    """Runs through the steps of a comparison, and may show how far it is."""

    def read(self, steps: Iterator[int]) -> None:
        """Read the file; `steps`: the rows read so far."""

    def compare(self, steps: Iterator[int], label: str, first: int, end: int) -> None:
        """Run through the shop's time; `steps`: the event times reached, from `first` to `end`."""


class NoProgress:
    """Shows no progress."""

    def read(self, steps: Iterator[int]) -> None:
        """Read the file."""
        deque(steps, maxlen=0)

    def compare(self, steps: Iterator[int], label: str, first: int, end: int) -> None:
        """Run through the shop's time."""
        deque(steps, maxlen=0)


def compare(
    source: Source, truth: TruthSource, options: VerifyOptions, progress: VerifyProgress | None = None
) -> ComparisonReport:
    """Compare an engine's output with the truth. Raises YasdgError or OSError if that is not possible."""
    columns, report = source.columns(), ComparisonReport()
    verify = _verify_purchases if purchases.ID in columns else _verify_sums
    verify(source, columns, truth, options, report, progress or NoProgress())
    report.uncompared = [name for name in source.seen if name not in report.compared]
    return report


def _length(window: int | str) -> int | None:
    return None if window == ALL else int(window)


def _by(columns: list[str]) -> str:
    """Return the key of the sums, according to the columns. Raises FileError."""
    if sums.START in columns:
        for by in BY:
            if ("product_id" if by == "product" else by) in columns:
                return by
    raise FileError(
        f"expected a column {purchases.ID}, or {sums.START} and product_id or category; "
        f"found {printable(', '.join(columns)) or 'none (CSV has them in its first line, JSON one object a line)'}"
    )


def _window(source: Source, columns: list[str]) -> tuple[int | str, int, int]:
    """Return the length of the windows of a file that has window ends, and the edges of its first window.

    Without window ends: a minute. ALL if there is only one window and it does not begin at a multiple of its length.
    Raises FileError.
    """
    found: tuple[int, int] | None = None
    for batch in source.batches([sums.START, sums.END]) if sums.END in columns else ():
        starts, ends = (times(batch.columns[name]) for name in (sums.START, sums.END))
        there = (starts < ends) & ~np.isin(starts, (NULL, UNREADABLE)) & ~np.isin(ends, (NULL, UNREADABLE))
        for start, end in np.unique(np.stack([starts[there], ends[there]], axis=1), axis=0).tolist():
            found = found or (start, end)
            if found[0] % (found[1] - found[0]) == 0:
                if (found[1] - found[0]) % SECOND:
                    raise _not_whole_seconds(*found)
                return found[1] - found[0], *found
            if (start, end) != found:
                if (found[1] - found[0]) % SECOND:
                    raise _not_whole_seconds(*found)
                raise FileError(
                    f"windows of {length((found[1] - found[0]) / 1e6)} do not begin at {time_text(found[0])}, but at "
                    "whole multiples of their length since 1970 (UTC). If they have another length, set --window"
                )
    return (MINUTE, 0, MINUTE) if found is None else (ALL, *found)


def _not_whole_seconds(start: int, end: int) -> FileError:
    """Return the error for windows that are not whole seconds long, such as those whose end is their last moment."""
    return FileError(
        f"windows that begin at {time_text(start)} and end at {time_text(end)}: expected whole seconds. If the ends "
        f"are inclusive, set --window, and in --columns the columns to compare, without {sums.END}"
    )


def _compared(columns: list[str], of: tuple[str, ...], keys: tuple[str, ...], named: tuple[str, ...]) -> list[str]:
    """Return the columns to compare besides the keys; `named`: those that were requested. Raises FileError."""
    if missing := [name for name in named if name not in columns]:
        raise FileError(
            f"column not found: {printable(', '.join(missing))}; found {printable(', '.join(columns), 500)}"
        )
    if others := [name for name in named if name not in (*of, *keys)]:
        raise FileError(
            f"column that cannot be compared: {printable(', '.join(others))}; "
            f"expected some of {', '.join((*keys, *of))}"
        )
    return [name for name in of if name in (named or columns)]


def _verify_purchases(
    source: Source, columns: list[str], truth: TruthSource, options: VerifyOptions, report: ComparisonReport,
    progress: VerifyProgress,
) -> None:  # fmt: skip
    products = sorted_products(truth.plan)
    span = truth.span(MINUTE if options.window is None else _length(options.window), options.begin, options.end)
    report.what, report.keys = "purchases", (purchases.ID,)
    report.columns = _compared(columns, purchases.FIELDS, report.keys, options.columns)
    engine_rows = purchases.EngineRows(products, report.columns, report)
    _read(source, [purchases.ID, *report.columns], engine_rows, progress)
    arrivals = truth.arrivals(span, options.lateness, options.deduplicated) or truth.faults(span)
    event_blocks = blocks(truth.plan, max(truth.until if truth.closes else truth.now, span.end - 1), arrivals)
    pricing = BulkPricing(products, truth.plan.sales)
    report.begin, report.end = time_text(span.begin), time_text(span.end)
    steps = purchases.compare(engine_rows, event_blocks, span, pricing, report)
    progress.compare(steps, "Comparing", truth.plan.opened_at, span.end)


def _verify_sums(
    source: Source, columns: list[str], truth: TruthSource, options: VerifyOptions, report: ComparisonReport,
    progress: VerifyProgress,
) -> None:  # fmt: skip
    products = sorted_products(truth.plan)
    keys = Keys(products, options.by or _by(columns))
    if missing := {sums.START, keys.column} - set(columns):
        raise FileError(f"column not found: {', '.join(sorted(missing))}; found {printable(', '.join(columns), 500)}")
    window, begin, end = options.window, options.begin, options.end
    end_column = (sums.END,) if sums.END in columns and window != ALL else ()
    has_ends = bool(end_column) and (not options.columns or sums.END in options.columns)
    if window is None:
        window, *edges = _window(source, columns)
        if window == ALL:
            begin, end = (
                edge if requested is None else requested for requested, edge in zip((begin, end), edges, strict=True)
            )
    report.what, report.keys = "windows", (sums.START, *((sums.END,) if has_ends else ()), keys.column)
    report.columns = _compared(columns, VALUES, (sums.START, *end_column, keys.column), options.columns)
    if not report.columns:
        found_here = printable(", ".join(options.columns or columns), 500)
        raise FileError(f"expected some of the columns {', '.join(VALUES)}; found {found_here}")
    span = truth.whole_windows(_length(window), begin, end)
    found = sums.EngineSums(keys, span, report.columns, report, (begin, end), has_ends)
    _read(source, [*report.keys, *report.columns], found, progress)
    comparison = sums.SumsComparison(found, keys, span, report)
    arrivals = truth.arrivals(span, options.lateness, options.deduplicated)
    report.begin, report.end = time_text(span.begin), time_text(span.end)
    first, steps = truth.plan.opened_at, comparison.compare(blocks(truth.plan, truth.until, arrivals))
    progress.compare(steps, "Comparing", first, span.end)
    if comparison.is_to_be_explained:
        arrivals = truth.arrivals(span, options.lateness, options.deduplicated) or truth.faults(span)
        steps = comparison.explain(blocks(truth.plan, truth.until, arrivals), products)
        progress.compare(steps, "Explaining", first, span.end)


def _read(
    source: Source, columns: list[str], into: purchases.EngineRows | sums.EngineSums, progress: VerifyProgress
) -> None:
    """Read all rows."""
    progress.read(_rows(source, columns, into))
    into.close()


def _rows(source: Source, columns: list[str], into: purchases.EngineRows | sums.EngineSums) -> Iterator[int]:
    """Read all rows; yield the number so far after each batch."""
    rows = 0
    for batch in source.batches(columns):
        into.take(batch)
        rows += batch.rows
        yield rows
