"""Ctrl-C for programs that tests start, whatever the shell did.

A shell starts what runs in the background (`make test &`) with SIGINT ignored, and a child inherits that: nobody could
press Ctrl-C in it. A signal that is handled is not inherited: a new program finds it at its default.
"""

import signal


def let_children_be_interrupted() -> None:
    """Have the programs that this process starts from now on end by SIGINT. To be called in the main thread."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
