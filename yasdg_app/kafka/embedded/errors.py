"""What can go wrong with a broker, in words for the person at the terminal. Knows nothing of the rest of the room."""

import errno

from yasdg_app.errors import YasdgError
from yasdg_app.process.descriptors import has_none_left


class BrokerError(YasdgError):
    """The embedded broker cannot be had. The message is one line and says what to do."""


def reason(error: OSError) -> str:
    """What the operating system says, without the number and the path: `No space left on device`."""
    return error.strerror or str(error) or type(error).__name__


class CannotLookError(BrokerError):
    """Whether a broker runs cannot be found out now: the system has no descriptor, lock or memory for a look.

    Nothing is known by it. It must never be taken for an answer, least of all for "it is gone".
    """

    def __init__(self, what: object, error: OSError) -> None:
        advice = _advice(error)
        what_to_do = f" {advice} if this stays so." if advice else ""
        super().__init__(f"Cannot look whether the embedded broker runs ({what}): {reason(error)}.{what_to_do}")


def _advice(error: OSError) -> str:
    """Return what to do where the system does not let us look; nothing where that is not known."""
    if has_none_left(error):
        return "Raise the limit of open files (LimitNOFILE, ulimit -n)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "Give access there"
    if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):  # as on some network file systems
        return "Put [KAFKA] data_dir on a local disk"
    return ""
