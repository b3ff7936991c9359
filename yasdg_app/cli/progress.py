"""Progress of long work on standard error: a bar on a terminal, otherwise a line from time to time, or nothing."""

import sys
import time
from typing import Any

import click


class ProgressBar:
    """Shows progress: see the module.

    Parameters
    ----------
    total
        Number of steps of the work.
    label
        Text in front of the bar.
    line
        Line to print without a terminal, with {} for the steps done and for the total; empty: none is printed.
    width
        Of the bar, in characters.
    after
        Seconds before the bar is shown: shorter work needs none.
    hidden
        Whether the bar is hidden because the terminal shows something else.
    """

    LINE_EVERY_SECONDS = 10.0

    def __init__(
        self, total: int, label: str = "", line: str = "", width: int = 36, after: float = 0.0, hidden: bool = False
    ) -> None:
        self._bar: Any = click.progressbar(
            length=total, label=label, file=sys.stderr, show_pos=bool(line), width=width,
            item_show_func=lambda item: item,
        )  # fmt: skip
        self._line, self._total, self._done, self._printed_at = line, total, 0, time.monotonic()
        self._terminal, self._after, self._begun = sys.stderr.isatty() and not hidden, after, False

    def __enter__(self) -> "ProgressBar":
        if not self._after:
            self._begin()
        return self

    def _begin(self) -> None:
        self._begun = self._terminal
        if self._begun:
            self._bar.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._begun:
            self._bar.__exit__(*error)

    def advance(self, count: int, item: str | None = None) -> None:
        """Add a number of completed steps; `item` is shown after the bar."""
        self._done += count
        if self._begun:
            self._bar.update(count, item)
        elif self._terminal and time.monotonic() - self._printed_at > self._after:
            self._begin()
            self._bar.update(self._done, item)
        elif not self._terminal and self._line and time.monotonic() - self._printed_at > self.LINE_EVERY_SECONDS:
            self._printed_at = time.monotonic()
            print(self._line.format(self._done, self._total), file=sys.stderr, flush=True)
