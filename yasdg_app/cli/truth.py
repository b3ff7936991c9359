"""`yasdg truth`: the exact aggregates that any engine must produce."""

import os
import signal
import sys
import time

import click
from faust.cli import option

from yasdg_app.cli.base import OfflineCommand, ShopCommand, command
from yasdg_app.cli.generate import INTERRUPTED, PROGRESS_STEPS, SHOW_AFTER_SECONDS
from yasdg_app.cli.output_file import OutputFile
from yasdg_app.cli.progress import ProgressBar
from yasdg_app.cli.time_options import event_time_option, lateness_option, time_option, window_option
from yasdg_app.messages.times import time_text
from yasdg_app.text import length
from yasdg_app.truth.arrivals import ArrivalSimulator
from yasdg_app.truth.source import ALL, TruthError, TruthSource, resolve_truth_source
from yasdg_app.truth.tables import FORMATS
from yasdg_app.truth.tumbling import Span
from yasdg_app.truth.windows import BY, Keys, aggregates, sorted_products

STDOUT = "-"


@command(
    option(
        "--window", callback=window_option, default="1m", show_default=True, metavar="LENGTH",
        help="Length of the windows, such as 10s, 1m, 1h or 1d; they start at whole multiples since 1970 (UTC). "
        "all: one window.",
    ),
    option("--by", type=click.Choice(BY), default="product", show_default=True, help="The key of a row."),
    option(
        "--from", "begin", callback=time_option, metavar="TIME",
        help="Event time (UTC) from which sales count. (default: the opening)",
    ),
    option(
        "--to", "end", callback=time_option, metavar="TIME",
        help="Event time (UTC) before which sales count. (default: [CLOCK] end; without one, the end of the last "
        "complete window)",
    ),
    option(
        "--allowed-lateness", "lateness", callback=lateness_option, metavar="DURATION",
        help="Compute what an engine must produce from the dirty topic, in order of release, with this allowed "
        "lateness.",
    ),
    option("--deduplicated", is_flag=True, help="With --allowed-lateness: the engine counts duplicates once."),
    option("--format", "kind", type=click.Choice(list(FORMATS)), help="Output format. (default: by FILE, else csv)"),
    option("--to-file", "-o", "to", default=STDOUT, metavar="FILE", help="Output file; '-' for standard output."),
    option(
        "--opened-at", callback=event_time_option, metavar="TIME",
        help="The time (UTC) at which the shop opened, to the microsecond, for a shop that is not in the cluster.",
    ),
    option("--force", is_flag=True, help="Overwrite an existing file."),
    base=OfflineCommand,
)  # fmt: skip
async def truth(
    self: ShopCommand,
    window: int | str,
    by: str,
    begin: int | None,
    end: int | None,
    lateness: int | None,
    deduplicated: bool,
    kind: str | None,
    to: str,
    opened_at: int | None,
    force: bool,
) -> int:
    """Write the exact aggregates that any stream processor must produce: one row per window and product.

    They are computed from configuration and seed and, if the shop is in the cluster, from its opening and the changes
    made while it ran. No message is read. A window in which nothing happened has no row. Sales, restocks and lost sales
    count by their event times; the closing stock is that at the end of the window.

    Exit status: 0 success, 1 failure, 2 usage error, 130 interrupted by Ctrl-C.

    Examples: yasdg truth --window 1h --by category; yasdg truth --from 2026-06-03 --to 2026-06-04 -o day.parquet;
    YASDG_CONFIG=config/scenarios/week.ini yasdg truth --window 1d --format json
    """
    source = await resolve_truth_source(self.shop, opened_at)
    print(f"yasdg: Truth computed from {source.source}", file=sys.stderr, flush=True)
    span = source.span(None if window == ALL else int(window), begin, end)
    arrivals = source.arrivals(span, lateness, deduplicated)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # nothing is waiting from here on
    target = OutputFile(to, force)
    try:
        rows = _write(source, by, span, arrivals, kind or _kind_of(to), target)
        target.complete()
    except KeyboardInterrupt:
        target.discard()
        return INTERRUPTED
    except OSError as error:
        target.discard()
        if isinstance(error, BrokenPipeError):
            raise
        raise TruthError(f"{target.name} cannot be written: {error.strerror}") from None
    except BaseException:
        target.discard()
        raise
    if target.partial:
        print(f"{target.name}: {rows}", file=sys.stderr, flush=True)
    return 0


def _kind_of(to: str) -> str:
    """Return the format of a file from its name."""
    suffix = os.path.splitext(to)[1].lower().removeprefix(".")
    return {"jsonl": "json", "ndjson": "json", "pq": "parquet"}.get(suffix, suffix if suffix in FORMATS else "csv")


def _write(
    source: TruthSource, by: str, span: Span, arrivals: ArrivalSimulator | None, kind: str, target: OutputFile
) -> str:
    """Write all rows; return their number and the duration as a text."""
    started, count = time.monotonic(), 0
    keys = Keys(sorted_products(source.plan), by)
    table = FORMATS[kind](keys, span)
    first, step = source.plan.opened_at, 0
    with ProgressBar(PROGRESS_STEPS, width=10, after=SHOW_AFTER_SECONDS, hidden=target.is_terminal) as progress:
        for rows, through in aggregates(source.plan, keys, span, source.until, arrivals):
            target.write(table.rows(rows))
            count += len(rows)
            before, step = step, min(PROGRESS_STEPS, int(PROGRESS_STEPS * (through - first) / max(span.end - first, 1)))
            progress.advance(step - before, f"{count:,} rows  {time_text(through)[:16]}")
    target.write(table.end())
    return f"{count:,} rows in {length(time.monotonic() - started)}"
