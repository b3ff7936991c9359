"""Errors of the embedded broker, in words for the person at the terminal. Imports nothing else of this package."""

import errno

from yasdg_app.errors import YasdgError
from yasdg_app.process.descriptors import has_none_left


class BrokerError(YasdgError):
    """The embedded broker cannot run. The message is one line and says what to do."""


def reason(error: OSError) -> str:
    """Return the operating system's message without error number and path: `No space left on device`."""
    return error.strerror or str(error) or type(error).__name__


class BrokerStateUnknownError(BrokerError):
    """It cannot be determined whether a broker runs: the system has no file descriptor, lock or memory for the check.

    This must never be taken for an answer, least of all for "it is gone".
    """

    def __init__(self, what: object, error: OSError) -> None:
        advice = _advice(error)
        what_to_do = f" {advice} if this persists." if advice else ""
        super().__init__(f"Cannot check whether the embedded broker runs ({what}): {reason(error)}.{what_to_do}")


def _advice(error: OSError) -> str:
    """Return what to do about an error of the operating system; an empty text if that is not known."""
    if has_none_left(error):
        return "Raise the limit of open files (LimitNOFILE, ulimit -n)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "Give access there"
    if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):  # as on some network file systems
        return "Put [KAFKA] data_dir on a local disk"
    return ""
