"""How a process of YASDG ends: with a message, at once, or within seconds. Knows nothing of what it was doing."""

import os
import sys
import threading
from collections.abc import Callable

from yasdg_app.errors import YasdgError

EXIT_AFTER_CRASH_SECONDS = 4.0
"""After a crash the process ends within this time, whatever an orderly shutdown still waits for."""


def exit_with_error(error: YasdgError, status: int) -> None:
    """End the program with a message and without a traceback. Raises SystemExit."""
    print(f"yasdg: {error}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def abort_process(message: str) -> None:
    """Print a message and end the process at once with status 1, without any cleanup.

    For ends that cannot wait for an orderly shutdown, because that would wait for what is gone.
    """
    print(f"yasdg: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def abort_soon() -> None:
    """End the process with status 1 within seconds: an orderly shutdown may wait for an unavailable cluster."""
    if not start_timer(EXIT_AFTER_CRASH_SECONDS, os._exit, 1):
        os._exit(1)


def start_timer(seconds: float, action: Callable[..., object], *arguments: object) -> bool:
    """Call a function after some seconds in a thread, even if the event loop is blocked.

    Returns False if the system has no thread left.
    """
    timer = threading.Timer(seconds, action, arguments)
    timer.daemon = True
    try:
        timer.start()
    except (RuntimeError, MemoryError):
        return False
    return True
