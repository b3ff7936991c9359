"""`yasdg generate`: the stream that workers would append, as JSON lines, without Kafka."""

import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click
from faust.cli import option

from yasdg_app.cli.base import OfflineCommand, ShopCommand, command
from yasdg_app.cli.output_file import OutputFile
from yasdg_app.cli.progress import ProgressBar
from yasdg_app.cli.time_options import event_time_option
from yasdg_app.cluster_state.lifetime import first_moment
from yasdg_app.config import rules
from yasdg_app.messages.formats import MOMENTS, json_format, time_of
from yasdg_app.messages.times import time_text
from yasdg_app.shop.faults import Faults
from yasdg_app.shop.plan import Plan
from yasdg_app.text import length, printable
from yasdg_app.truth.offline_stream import BY_SALES, FAULTY, KINDS, StreamLines, stream
from yasdg_app.truth.stream_end import (
    NOW,
    GenerateError,
    Until,
    last_event_time,
    most_sales,
    reproduction_hint,
    require_enough_sales,
)

INTERRUPTED = 130  # exit status, as shells define it
PROGRESS_STEPS = 1000  # of the progress bar
NAMES = {"dirty": "dirty purchases"}  # for people
SHOW_AFTER_SECONDS = 1.0  # if the output is a pipe: its reader may want only the first lines, and no bar


def _until(_: click.Context, __: click.Parameter, value: str | None) -> Until:
    rule = rules.moment_or_duration(NOW, "after the shop's opening")
    try:
        return None if value is None else rule.read(value) or NOW
    except rules.InvalidValueError as error:
        raise click.BadParameter(f"{printable(value or '')}: expected {error}") from None


@command(
    option("--to", "to", default="-", metavar="FILE", help="Output file; '-' or 'stdout' for standard output."),
    option(
        "--what", type=click.Choice([*KINDS, *FAULTY]), default="purchases", show_default=True, help="What to write."
    ),
    option(
        "--until", callback=_until, metavar="TIME|DURATION",
        help="Where to stop: a time on the shop's clock, such as '2026-02-01 08:30'; a duration after the opening, "
        "such as 30d; or now. (default: [CLOCK] end; without one: now)",
    ),
    option("-n", "rows", type=click.IntRange(1), metavar="COUNT", help="The maximum number of rows."),
    option(
        "--opened-at", callback=event_time_option, metavar="TIME",
        help="The time (UTC) at which the shop opened, to the microsecond, instead of [CLOCK] start.",
    ),
    option("--force", is_flag=True, help="Overwrite an existing file."),
    base=OfflineCommand,
)  # fmt: skip
async def generate(
    self: ShopCommand, to: str, what: str, until: Until, rows: int | None, opened_at: int | None, force: bool
) -> int:
    """Write the messages that workers would append, one per line, without Kafka: a year in a minute.

    The messages are the same, byte for byte, in order of event time. Dirty messages and faults, which exist with
    [FAULTS], are in order of arrival, and within a microsecond of product and number; a dirty message may be empty or
    not UTF-8. If [FORMAT] value is not json, the messages are those of the default format. Incidents that are set
    while a shop runs are not included. If [CLOCK] start is now or a duration before now, each run simulates another
    shop: the time of its opening is printed at the end, and --opened-at takes it. To reproduce a running shop, use
    opened_at of the first record on its opening topic.

    A file gets its name when it is complete; until then, and after Ctrl-C, its lines are in FILE.part. [SALES]
    number_of_sales ends the output, too.

    Exit status: 0 success, 1 failure, 2 usage error, 130 interrupted by Ctrl-C.

    Examples: yasdg generate --to purchases.jsonl --until 30d; yasdg generate -n 1000 | head;
    YASDG_CLOCK_START=365d yasdg generate --to lost.jsonl --what lost_sales
    """
    self.print_notes()
    now = time.time_ns() // 1000
    settings = self.shop.settings
    begin = first_moment(settings, now) if opened_at is None else opened_at
    plan = Plan.of(settings, self.shop.products, begin)
    if what in FAULTY and not settings.faults.any:
        raise GenerateError(f"This shop has no {NAMES.get(what, what)}: every share in [FAULTS] is 0")
    last = last_event_time(settings, plan, now, what, until, rows)
    if what in BY_SALES:
        require_enough_sales(settings, plan, last, most_sales(settings, what, rows))
    run = GenerateRun(what, begin, last, rows)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is written yet, and opening a pipe may block forever
    target = OutputFile(to, force)
    signal.signal(signal.SIGINT, run.interrupt)
    try:
        form = json_format(settings.format)
        faults = Faults.of(settings.faults, settings.sales.seed)
        number = settings.sales.number_of_sales
        parts = stream(what, plan, last, number_of_sales=number, rows=rows, form=form, faults=faults)
        run.write(parts, target)
        if run.interrupted:
            target.leave()
        else:
            target.complete()
    except OSError as error:
        target.discard()
        if isinstance(error, BrokenPipeError):
            raise
        raise GenerateError(f"{target.name} cannot be written after {run.made}: {error.strerror}") from None
    except BaseException:
        target.discard()
        raise
    again = "" if opened_at is not None or isinstance(settings.clock.start, datetime) else reproduction_hint(begin)
    if run.interrupted:
        where = f"; they are in {target.partial}" if target.partial else ""
        print(f"yasdg: Interrupted after {run.made}{where}{again}", file=sys.stderr, flush=True)
        return INTERRUPTED
    if target.partial or (sys.stderr.isatty() and not target.is_terminal):
        print(f"{target.name}: {run.made}, {run.took}{again}", file=sys.stderr, flush=True)
    return 0


class GenerateRun:
    """One run: its progress, and whether it should stop.

    Attributes
    ----------
    interrupted
        Ctrl-C was pressed: the run stops after the lines that are being written. A second Ctrl-C ends the process.
    """

    def __init__(self, what: str, begin: int, last: int, most_rows: int | None) -> None:
        self.interrupted = False
        self._what, self._begin, self._last, self._most_rows = what, begin, last, most_rows
        self._rows, self._bytes, self._latest, self._through = 0, 0, b"", begin
        self._started = time.monotonic()

    def interrupt(self, *_: Any) -> None:
        """Handle a Ctrl-C."""
        self.interrupted = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def write(self, parts: Iterator[StreamLines], target: OutputFile) -> None:
        """Write all parts, or those before a Ctrl-C."""
        after = 0.0 if target.partial else SHOW_AFTER_SECONDS
        with ProgressBar(PROGRESS_STEPS, width=10, after=after, hidden=target.is_terminal) as progress:
            step = 0
            while not self.interrupted and (part := next(parts, None)) is not None:
                target.write(part.text)
                self._rows, self._bytes = self._rows + part.rows, self._bytes + len(part.text)
                if part.rows:
                    self._latest = bytes(part.text[part.text.rfind(b"\n", 0, len(part.text) - 1) + 1 :])
                self._through = part.through
                before, step = step, int(PROGRESS_STEPS * self._share(part.through))
                progress.advance(step - before, self._shown(part.through))

    def _share(self, through: int) -> float:
        share = (through - self._begin) / max(self._last - self._begin, 1)
        return min(1.0, max(share, self._rows / self._most_rows if self._most_rows else 0.0))

    def _shown(self, through: int) -> str:
        return f"{self._rows:,} rows  {self._pace:,.0f}/s  {time_text(through)[:16]}"

    @property
    def _pace(self) -> float:
        return self._rows / max(time.monotonic() - self._started, 1e-3)

    @property
    def made(self) -> str:
        """What was written, as a text."""
        until = ""
        if self._rows and self._what == "dirty":  # a dirty message may be damaged or late
            until = time_text(self._through)
        elif self._rows and MOMENTS[self._what]:
            until = time_of(self._what, self._latest)
        return f"{self._rows:,} {NAMES.get(self._what, self._what)}{f' up to {until} (UTC)' if until else ''}"

    @property
    def took(self) -> str:
        """How long it took, as a text."""
        seconds = time.monotonic() - self._started
        return f"{self._bytes / 1e6:,.1f} MB in {length(seconds)}: {self._pace:,.0f} a second"
