"""What can go wrong with a broker, in words for the person at the terminal. Knows nothing of the rest of the room."""

from yasdg_app.errors import YasdgError


class BrokerError(YasdgError):
    """The embedded broker cannot be had. The message is one line and says what to do."""


def reason(error: OSError) -> str:
    """What the operating system says, without the number and the path: `No space left on device`."""
    return error.strerror or str(error) or type(error).__name__
