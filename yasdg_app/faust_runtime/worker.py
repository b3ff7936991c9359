"""The process around the app: how a worker reacts to signals and crashes, and what it logs of them."""

import logging
import os
import signal

import faust

from yasdg_app.process.crashes import OncePerError
from yasdg_app.process.exits import abort_process, abort_soon, start_timer

MAX_SHUTDOWN_SECONDS = 20.0
"""Maximum time of an orderly shutdown; usually it takes about two seconds, on an overloaded machine more."""
EXIT_AFTER_STOP_SECONDS = 3.0
"""Time in which a process ends after its worker has stopped."""
NO_DATA_LOST = "No data was lost; the next start resumes from the end of the log."


class ShopWorker(faust.Worker):
    """A Faust worker that shuts down in order at the first Ctrl-C, and at once at the second.

    After a crash the process ends within seconds, and the error is logged once, on one line if its cause is known.
    """

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Log each error once, and on one line if that explains it; with `-l debug` all tracebacks are logged."""
        super().on_setup_root_logger(logger, level)
        if level > logging.DEBUG:
            logging.raiseExceptions = False  # if the log cannot be written, logging that would not help
            once = OncePerError()
            for handler in logger.handlers:
                handler.addFilter(once)

    def on_worker_shutdown(self) -> None:
        """Bound the shutdown: if no signal was received, an error is the reason for it."""
        if not self._signal_stop_time:
            abort_soon()
        super().on_worker_shutdown()

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        if not self._signal_stop_time:
            abort_soon()

    def _on_sigusr1(self) -> None:
        """Do nothing: mode would print the stacks of all tasks, with the values in them."""

    def _on_sigusr2(self) -> None:
        """Do nothing: mode would open a debugger that waits for a terminal."""

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        if self._signal_stop_time:
            abort_process(f"Stopped at the second Ctrl-C. {NO_DATA_LOST}")
        super()._schedule_shutdown(signal)
        message = f"Stopped without Apache Kafka, which does not respond. {NO_DATA_LOST}"
        if not start_timer(MAX_SHUTDOWN_SECONDS, abort_process, message):
            self.loop.call_later(MAX_SHUTDOWN_SECONDS, abort_process, message)

    async def _stop_on_signal(self, signal: signal.Signals) -> None:
        await super()._stop_on_signal(signal)
        # A start that was interrupted may continue after the stop. There is nothing left to do.
        self.loop.call_later(EXIT_AFTER_STOP_SECONDS, self._exit_process)

    def _exit_process(self) -> None:
        """End the process, with the status of a failure if it has crashed."""
        os._exit(1 if self.crashed or self.app.crashed else 0)
