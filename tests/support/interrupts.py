"""Ctrl-C for programs that tests start, whatever the shell did.

A shell starts background jobs (`make test &`) with SIGINT ignored, and their children inherit that: Ctrl-C would have
no effect on them. A signal with a handler is not inherited: a new program starts with the default.
"""

import signal


def let_children_be_interrupted() -> None:
    """Make SIGINT end the programs that this process starts from now on. Call it in the main thread."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
