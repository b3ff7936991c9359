"""`yasdg verify`: compares an engine's output with the truth."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import orjson
from faust.cli import argument, option

from yasdg_app.cli.base import OfflineCommand, ShopCommand, command
from yasdg_app.cli.generate import INTERRUPTED, PROGRESS_STEPS, event_time_option
from yasdg_app.cli.progress import ProgressBar
from yasdg_app.cli.truth_source import (
    ALL,
    TruthError,
    TruthSource,
    lateness_option,
    resolve_truth_source,
    time_option,
    window_option,
)
from yasdg_app.errors import YasdgError
from yasdg_app.messages.times import time_text
from yasdg_app.process.exits import exit_with_error
from yasdg_app.text import length, printable
from yasdg_app.truth import compare_purchases as purchases
from yasdg_app.truth import compare_sums as sums
from yasdg_app.truth.engine_files import KINDS, FileError, Source
from yasdg_app.truth.engine_values import NULL, UNREADABLE, times
from yasdg_app.truth.events import blocks
from yasdg_app.truth.price_columns import BulkPricing
from yasdg_app.truth.report import ComparisonReport
from yasdg_app.truth.tables import VALUES
from yasdg_app.truth.tumbling import Span
from yasdg_app.truth.windows import BY, Keys, sorted_products

MAX_FINDINGS_PRINTED = 50
MAX_FINDING_CHARACTERS = 500
SECOND, MINUTE = 1_000_000, 60_000_000
MAX_COLUMNS_PRINTED = 20  # of those that were not compared


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


def _columns_option(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Parse names of columns."""
    names = tuple(dict.fromkeys(part.strip() for part in (value or "").split(",")))
    if value is not None and not all(names):
        raise click.BadParameter(f"{printable(value)}: expected names of columns with commas between them")
    return names if value is not None else ()


@command(
    argument("path", metavar="FILE", type=click.Path(path_type=Path)),
    option(
        "--window", callback=window_option, metavar="LENGTH",
        help="Length of the windows, such as 1m or 1h; all: one window. (default: window_end less window_start, else "
        "1m)",
    ),
    option("--by", type=click.Choice(BY), help="The key of a row. (default: the column that exists)"),
    option(
        "--from", "begin", callback=time_option, metavar="TIME",
        help="Event time (UTC) from which sales are compared. (default: the opening)",
    ),
    option(
        "--to", "end", callback=time_option, metavar="TIME",
        help="Event time (UTC) before which sales are compared. (default: [CLOCK] end; required without one)",
    ),
    option(
        "--allowed-lateness", "lateness", callback=lateness_option, metavar="DURATION",
        help="Compare with what an engine must produce from the dirty topic with this allowed lateness.",
    ),
    option("--deduplicated", is_flag=True, help="With --allowed-lateness: the engine counts duplicates once."),
    option(
        "--columns", "named", callback=_columns_option, metavar="NAMES",
        help="The columns to compare, separated by commas; if one of them cannot be compared, nothing is. (default: "
        "all columns of the stream, or of yasdg truth, that the file has)",
    ),
    option("--format", "kind", type=click.Choice(KINDS), help="Format of the file. (default: by its name)"),
    option(
        "--opened-at", callback=event_time_option, metavar="TIME",
        help="The time (UTC) at which the shop opened, to the microsecond, for a shop that is not in the cluster.",
    ),
    option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    base=OfflineCommand,
)  # fmt: skip
async def verify(
    self: ShopCommand,
    path: Path,
    window: int | str | None,
    by: str | None,
    begin: int | None,
    end: int | None,
    lateness: int | None,
    deduplicated: bool,
    named: tuple[str, ...],
    kind: str | None,
    opened_at: int | None,
    as_json: bool,
) -> int:
    """Compare an engine's output with the exact result; report missing, duplicate, late or wrong rows.

    FILE is CSV, JSON lines or Parquet, or a folder with such files. With a column transaction_id, each row is a
    purchase, with any of its fields. With window_start and product_id or category, each row is an aggregate, with any
    columns of yasdg truth. Other columns are not compared; the report lists them.

    Exit status: 0 nothing differs, 1 something differs, 2 the file cannot be read or compared.

    Examples: yasdg verify purchases.parquet; yasdg verify minutes.csv --window 1m --by product;
    yasdg verify late.jsonl --allowed-lateness 10s --json
    """
    try:
        source = Source(path, kind)
        source.columns()  # an unreadable file needs no cluster
        truth = await resolve_truth_source(self.shop, opened_at, of_a_stream=True)
        if end is None and not truth.closes:
            raise TruthError(
                f"The shop has no end, so say up to which event time the file goes: --to '{time_text(truth.now)[:16]}'"
            )
        signal.signal(signal.SIGINT, signal.default_int_handler)  # nothing is waiting from here on
        report = compare(source, truth, VerifyOptions(window, by, begin, end, lateness, deduplicated, named))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (YasdgError, OSError, MemoryError) as error:
        why = str(error) or "there is not enough memory"
        exit_with_error(TruthError(f"Cannot verify {printable(str(path), 4096)}: {why}"), 2)
    if as_json:
        print(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        _show(report)
    return 0 if report.equal else 1


def compare(source: Source, truth: TruthSource, options: VerifyOptions) -> ComparisonReport:
    """Compare an engine's output with the truth. Raises YasdgError or OSError if that is not possible."""
    columns, report = source.columns(), ComparisonReport()
    if purchases.ID in columns:
        _verify_purchases(source, columns, truth, options, report)
    else:
        _verify_sums(source, columns, truth, options, report)
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
                    raise _odd(*found)
                return found[1] - found[0], *found
            if (start, end) != found:
                if (found[1] - found[0]) % SECOND:
                    raise _odd(*found)
                raise FileError(
                    f"windows of {length((found[1] - found[0]) / 1e6)} do not begin at {time_text(found[0])}, but at "
                    "whole multiples of their length since 1970 (UTC). Say --window, if they are of another length"
                )
    return (MINUTE, 0, MINUTE) if found is None else (ALL, *found)


def _odd(start: int, end: int) -> FileError:
    """Return the error for windows that are not whole seconds long, such as those whose end is their last moment."""
    return FileError(
        f"windows that end at {time_text(end)} and begin at {time_text(start)}: expected whole seconds. If the ends "
        f"are the last moments of the windows, say --window, and in --columns what is to be compared, {sums.END} apart"
    )


def _compared(columns: list[str], of: tuple[str, ...], keys: tuple[str, ...], named: tuple[str, ...]) -> list[str]:
    """Return the columns to compare besides the keys; `named`: those that were requested. Raises FileError."""
    if missing := [name for name in named if name not in columns]:
        raise FileError(
            f"there is no column {printable(', '.join(missing))}; found {printable(', '.join(columns), 500)}"
        )
    if others := [name for name in named if name not in (*of, *keys)]:
        raise FileError(
            f"the column {printable(', '.join(others))} cannot be compared. These can: {', '.join((*keys, *of))}"
        )
    return [name for name in of if name in (named or columns)]


def _verify_purchases(
    source: Source, columns: list[str], truth: TruthSource, options: VerifyOptions, report: ComparisonReport
) -> None:
    products = sorted_products(truth.plan)
    span = truth.span(MINUTE if options.window is None else _length(options.window), options.begin, options.end)
    report.what, report.keys = "purchases", (purchases.ID,)
    report.columns = _compared(columns, purchases.FIELDS, report.keys, options.columns)
    engine_rows = purchases.EngineRows(products, report.columns, report)
    _read(source, [purchases.ID, *report.columns], engine_rows)
    arrivals = truth.arrivals(span, options.lateness, options.deduplicated) or truth.faults(span)
    event_blocks = blocks(truth.plan, max(truth.until if truth.closes else truth.now, span.end - 1), arrivals)
    pricing = BulkPricing(products, truth.plan.sales)
    _run(purchases.compare(engine_rows, event_blocks, span, pricing, report), truth, span, report)


def _verify_sums(
    source: Source, columns: list[str], truth: TruthSource, options: VerifyOptions, report: ComparisonReport
) -> None:
    products = sorted_products(truth.plan)
    keys = Keys(products, options.by or _by(columns))
    if missing := {sums.START, keys.column} - set(columns):
        raise FileError(f"there is no column {', '.join(sorted(missing))}; found {printable(', '.join(columns), 500)}")
    window, begin, end = options.window, options.begin, options.end
    told_ends = (sums.END,) if sums.END in columns and window != ALL else ()
    has_ends = bool(told_ends) and (not options.columns or sums.END in options.columns)
    if window is None:
        window, *edges = _window(source, columns)
        if window == ALL:
            begin, end = (
                event_id if said is None else said for said, event_id in zip((begin, end), edges, strict=True)
            )
    report.what, report.keys = "windows", (sums.START, *((sums.END,) if has_ends else ()), keys.column)
    report.columns = _compared(columns, VALUES, (sums.START, *told_ends, keys.column), options.columns)
    if not report.columns:
        found_here = printable(", ".join(options.columns or columns), 500)
        raise FileError(f"expected some of the columns {', '.join(VALUES)}; found {found_here}")
    span = truth.whole_windows(_length(window), begin, end)
    found = sums.EngineSums(keys, span, report.columns, report, (begin, end), has_ends)
    _read(source, [*report.keys, *report.columns], found)
    comparison = sums.SumsComparison(found, keys, span, report)
    arrivals = truth.arrivals(span, options.lateness, options.deduplicated)
    _run(comparison.compare(blocks(truth.plan, truth.until, arrivals)), truth, span, report)
    if comparison.is_to_be_explained:
        arrivals = truth.arrivals(span, options.lateness, options.deduplicated) or truth.faults(span)
        _run(
            comparison.explain(blocks(truth.plan, truth.until, arrivals), products),
            truth,
            span,
            report,
            "Looking closer",
        )


def _read(source: Source, columns: list[str], into: purchases.EngineRows | sums.EngineSums) -> None:
    """Read all rows; the progress shows the number so far, because the total is unknown."""
    rows = 0
    with ProgressBar(1, "Reading", width=1, after=1.0) as progress:
        for batch in source.batches(columns):
            into.take(batch)
            rows += batch.rows
            progress.advance(0, f"{rows:,} rows")
    into.close()


def _run(
    steps: Iterator[int], truth: TruthSource, span: Span, report: ComparisonReport, label: str = "Comparing"
) -> None:
    """Run through the shop's time; `steps`: the event times reached."""
    report.begin, report.end = time_text(span.begin), time_text(span.end)
    first, step = truth.plan.opened_at, 0
    with ProgressBar(PROGRESS_STEPS, label, width=10, after=1.0) as progress:
        for through in steps:
            before, step = step, min(PROGRESS_STEPS, int(PROGRESS_STEPS * (through - first) / max(span.end - first, 1)))
            progress.advance(max(0, step - before), time_text(min(through, span.end))[:16])


def _show(report: ComparisonReport) -> None:
    """Print the report in human-readable form."""
    print(f"{report.rows:,} {report.what} compared with {report.wanted:,}, {report.begin} to {report.end} (UTC)")
    print(f"Columns: {', '.join(report.columns) or 'none but the ids'}")
    if others := report.uncompared:
        more = f" and {len(others) - MAX_COLUMNS_PRINTED} more" if len(others) > MAX_COLUMNS_PRINTED else ""
        print(f"Not compared: {', '.join(map(printable, others[:MAX_COLUMNS_PRINTED]))}{more}")
    if report.outside:
        cut = ", or cut by --from or --to," if report.what == "windows" else ""
        print(f"{report.outside:,} {report.what} of other times{cut} were not looked at.")
    if report.equal:
        print("All is as it should be.")
        return
    if report.remark:
        print(f"{report.remark}.")
    print(f"It differs: {report.kinds_text()}")
    print("\n".join(report.finding_lines(MAX_FINDINGS_PRINTED, lambda text: printable(text, MAX_FINDING_CHARACTERS))))
