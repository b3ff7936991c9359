"""What is logged of an error: once, and on one line if that says what went wrong."""

import errno
import logging
from collections.abc import Iterator

import pytest
from aiokafka.errors import KafkaConnectionError

from yasdg_app.errors import ConfigurationError, YasdgError
from yasdg_app.process.crashes import OncePerError, one_line


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    caplog.handler.addFilter(once := OncePerError())
    yield logging.getLogger("mode.something")
    caplog.handler.removeFilter(once)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as it:
        return it


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device", "/data"), "No space left on device: /data"),
        (TimeoutError(), "TimeoutError()"),
        (YasdgError("It is closed."), "It is closed."),
        (ConfigurationError(["one", "two"]), "one; two"),
        (KafkaConnectionError("away"), "Apache Kafka: KafkaConnectionError: away"),
        (MemoryError(), "Out of memory."),
    ],
)
def test_an_error_that_explains_itself_is_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
        YasdgError("full"),
        MemoryError(),
    ],
)
def test_it_is_logged_once_and_without_a_traceback_by_whatever_service(
    log: logging.Logger, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    it = raised(error)
    for service in ("ShopApp", "Agent", "ShopWorker"):
        log.error(f"[^-{service}]: Crashed reason=%r", it, exc_info=it)
    log.error("[^Worker]: Error: %r", it, exc_info=it)
    log.critical("We experienced a crash! Reraising original exception...")
    assert caplog.messages == [f"The worker ends: {one_line(it)}"]
    assert "Traceback" not in caplog.text


def test_mode_may_log_a_crash_when_no_error_is_being_handled(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    log.error("[^-ShopApp]: Crashed reason=%r", raised(YasdgError("The broker is gone.")), exc_info=(None, None, None))
    assert caplog.messages == ["The worker ends: The broker is gone."]


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("by zero"), TimeoutError(), ConnectionError(), OSError("no text of the system")],
    ids=repr,
)
def test_a_bug_keeps_its_traceback_once(
    log: logging.Logger, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    it = raised(error)
    for _ in range(2):
        log.error("[^-ShopApp]: Crashed reason=%r", it, exc_info=it)
    assert caplog.text.count("Traceback") == 1
    assert type(error).__name__ in caplog.text


def test_other_lines_are_left_alone_and_other_errors_keep_what_is_said_of_them(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    log.warning("%d sales", 5)
    log.error("GET %s could not be answered.", "/x", exc_info=raised(OSError(errno.EMFILE, "Too many open files")))
    assert caplog.messages == ["5 sales", "GET /x could not be answered: Too many open files"]


def test_what_fails_because_of_a_crash_is_not_logged(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log.error("[^-ShopApp]: Crashed reason=%r", it := raised(YasdgError("full")), exc_info=it)
    log.error("Error while stopping child %r: %r", 1, it := raised(RuntimeError("Event loop is closed")), exc_info=it)
    log.warning("still a word")
    assert caplog.messages == ["The worker ends: full", "still a word"]
