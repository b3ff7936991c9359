"""How a YASDG process ends: with a message, at once, or within seconds. Must not know what the process does."""

import os
import sys
import threading
from collections.abc import Callable

from yasdg_app.errors import YasdgError

EXIT_AFTER_CRASH_SECONDS = 4.0
"""After a crash the process ends within this time, even if an orderly shutdown is still waiting."""


def exit_with_error(error: YasdgError, status: int) -> None:
    """Print a message and end the program without a traceback. Raises SystemExit with `status`."""
    print(f"yasdg: {error}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def abort_process(message: str) -> None:
    """Print a message and end the process at once with status 1, without any cleanup.

    For cases in which an orderly shutdown would wait for something that no longer exists.
    """
    print(f"yasdg: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def abort_soon() -> None:
    """End the process with status 1 within seconds: an orderly shutdown may wait for an unavailable cluster."""
    if not start_timer(EXIT_AFTER_CRASH_SECONDS, os._exit, 1):
        os._exit(1)


def start_timer(seconds: float, action: Callable[..., object], *arguments: object) -> bool:
    """Call a function after some seconds in a thread, even if the event loop is blocked.

    Returns False if the system cannot start another thread.
    """
    timer = threading.Timer(seconds, action, arguments)
    timer.daemon = True
    try:
        timer.start()
    except (RuntimeError, MemoryError):
        return False
    return True
