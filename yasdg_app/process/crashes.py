"""How errors are logged, including the one that ends the worker: once each, on one line if the cause is known.

Independent of the worker.
"""

import logging

from aiokafka.errors import KafkaError

from yasdg_app.errors import YasdgError

EXPLAINED = (YasdgError, KafkaError, MemoryError)
"""Errors whose text explains what went wrong; see `is_explained`."""
CRASH = (
    "Crashed reason=%r",
    "Error: %r",
)
"""Suffix of mode's log message about an error that ends a worker; the argument is the error."""
NOISE = "We experienced a crash!"  # mode, at the end of a process whose error was logged before
MAX_REMEMBERED = 100  # errors that are not logged again


def one_line(error: BaseException) -> str:
    """Return what went wrong, on one line."""
    if isinstance(error, KafkaError):
        text = f"Apache Kafka: {error}"
    elif isinstance(error, MemoryError):
        text = "Out of memory."
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = str(error) or repr(error)
    return "; ".join(line.strip() for line in text.splitlines() if line.strip()) or repr(error)


def is_explained(error: BaseException) -> bool:
    """Return whether the text of an error explains it, so that a traceback would not help the reader.

    True for errors of the operating system, but not for a TimeoutError raised by our code or by a library.
    """
    return isinstance(error, EXPLAINED) or (isinstance(error, OSError) and bool(error.strerror))


class OncePerError(logging.Filter):
    """A handler's filter: logs each error once, without a traceback if it is explained."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[BaseException] = []
        self._has_crashed = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; shorten it to one line if that is enough."""
        if getattr(record, "is_shortened", False):  # by another handler
            return True
        said = str(record.msg)
        if NOISE in said:
            return False
        ends = said.endswith(CRASH)
        error = record.exc_info[1] if record.exc_info else None
        if error is None and ends and isinstance(record.args, tuple) and isinstance(record.args[0], BaseException):
            error = record.args[0]
        if error is None:
            return True
        if self._has_crashed or any(error is each for each in self._seen):
            return False  # errors after a crash, for example when stopping what is gone, are caused by it
        self._has_crashed = ends
        self._seen = [*self._seen[1 - MAX_REMEMBERED :], error]
        if is_explained(error):
            text = one_line(error)
            said = record.getMessage().rstrip(".")
            record.msg = f"The worker ends: {text}" if ends else f"{said}: {text}"
            record.args, record.exc_info, record.exc_text = (), None, None
        elif not record.exc_info or record.exc_info[1] is None:
            record.exc_info = (type(error), error, error.__traceback__)
        record.is_shortened = True
        return True
