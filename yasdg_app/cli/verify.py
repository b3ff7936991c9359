"""`yasdg verify`: compares an engine's output with the truth."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import orjson
from faust.cli import argument, option

from yasdg_app.cli.base import OfflineCommand, ShopCommand, command
from yasdg_app.cli.generate import INTERRUPTED, PROGRESS_STEPS
from yasdg_app.cli.progress import ProgressBar
from yasdg_app.cli.time_options import event_time_option, lateness_option, time_option, window_option
from yasdg_app.errors import YasdgError
from yasdg_app.messages.times import time_text
from yasdg_app.process.exits import exit_with_error
from yasdg_app.text import printable
from yasdg_app.truth.engine_files import KINDS, Source
from yasdg_app.truth.report import ComparisonReport
from yasdg_app.truth.source import TruthError, resolve_truth_source
from yasdg_app.truth.verify import VerifyOptions, compare
from yasdg_app.truth.windows import BY

MAX_FINDINGS_PRINTED = 50
MAX_FINDING_CHARACTERS = 500
MAX_COLUMNS_PRINTED = 20  # of those that were not compared


def _columns_option(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Parse names of columns."""
    names = tuple(dict.fromkeys(part.strip() for part in (value or "").split(",")))
    if value is not None and not all(names):
        raise click.BadParameter(f"{printable(value)}: expected names of columns, separated by commas")
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
        print(f"yasdg: Truth computed from {truth.source}", file=sys.stderr, flush=True)
        if end is None and not truth.closes:
            raise TruthError(
                f"The shop has no end. Set the event time at which the file ends: --to '{time_text(truth.now)[:16]}'"
            )
        signal.signal(signal.SIGINT, signal.default_int_handler)  # nothing is waiting from here on
        options = VerifyOptions(window, by, begin, end, lateness, deduplicated, named)
        report = compare(source, truth, options, BarOnTerminal())
    except KeyboardInterrupt:
        return INTERRUPTED
    except (YasdgError, OSError, MemoryError) as error:
        why = str(error) or "not enough memory"
        exit_with_error(TruthError(f"Cannot verify {printable(str(path), 4096)}: {why}"), 2)
    if as_json:
        print(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        _show(report)
    return 0 if report.equal else 1


class BarOnTerminal:
    """Shows the progress of a comparison as bars on a terminal."""

    def read(self, steps: Iterator[int]) -> None:
        """Read the file; the bar shows the number of rows so far, because the total is unknown."""
        with ProgressBar(1, "Reading", width=1, after=1.0) as progress:
            for rows in steps:
                progress.advance(0, f"{rows:,} rows")

    def compare(self, steps: Iterator[int], label: str, first: int, end: int) -> None:
        """Run through the shop's time."""
        step = 0
        with ProgressBar(PROGRESS_STEPS, label, width=10, after=1.0) as progress:
            for through in steps:
                before, step = step, min(PROGRESS_STEPS, int(PROGRESS_STEPS * (through - first) / max(end - first, 1)))
                progress.advance(max(0, step - before), time_text(min(through, end))[:16])


def _show(report: ComparisonReport) -> None:
    """Print the report in human-readable form."""
    print(f"{report.rows:,} {report.what} compared with {report.wanted:,}, {report.begin} to {report.end} (UTC)")
    print(f"Columns: {', '.join(report.columns) or 'only the ids'}")
    if others := report.uncompared:
        more = f" and {len(others) - MAX_COLUMNS_PRINTED} more" if len(others) > MAX_COLUMNS_PRINTED else ""
        print(f"Not compared: {', '.join(map(printable, others[:MAX_COLUMNS_PRINTED]))}{more}")
    if report.outside:
        cut = ", or cut by --from or --to," if report.what == "windows" else ""
        print(f"{report.outside:,} {report.what} of other times{cut} were not compared.")
    if report.equal:
        print("No differences found.")
        return
    if report.remark:
        print(f"{report.remark}.")
    print(f"Differences: {report.kinds_text()}")
    print("\n".join(report.finding_lines(MAX_FINDINGS_PRINTED, lambda text: printable(text, MAX_FINDING_CHARACTERS))))
