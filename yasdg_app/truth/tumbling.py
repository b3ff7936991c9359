"""Event time divided into tumbling windows.

Windows begin at whole multiples of their length since 1970, UTC, as Flink's, Spark's and Kafka Streams' do.
"""

from typing import NamedTuple

import numpy as np

from yasdg_app.shop.demand import Ints

AFTER_ALL_WINDOWS = 2**62  # number of a window after all others


class Span(NamedTuple):
    """The event times that count, and how they are divided; in microseconds since 1970."""

    begin: int
    end: int  # exclusive
    window: int | None  # length of a window; None: a single window

    def number(self, at: Ints) -> Ints:
        """Return the numbers of the windows that contain event times."""
        return np.zeros_like(at) if self.window is None else at // self.window

    def edges(self, number: Ints) -> tuple[Ints, Ints]:
        """Return the begin and the end of windows."""
        if self.window is None:
            return np.full_like(number, self.begin), np.full_like(number, self.end)
        return number * self.window, (number + 1) * self.window

    def over(self, settled: int) -> int:
        """Return the number of the first window that is not over; `settled`: event time before which all is known."""
        if settled >= self.end:
            return AFTER_ALL_WINDOWS
        return 0 if self.window is None else settled // self.window
