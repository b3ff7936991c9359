"""What a worker does with its datastore when it stops: it writes the rest, and does not hide a bug."""

import logging

import pytest
from support.fakes import open_shop

from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.sinks.base import DatastoreError


class Sink:
    """A sink whose flush fails."""

    name, waiting = "SQLite", 3

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def flush(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "level", "has_traceback"),
    [
        (DatastoreError("it is full"), logging.DEBUG, False),
        (AttributeError("on purpose"), logging.ERROR, True),
        (TypeError("on purpose"), logging.ERROR, True),
    ],
)
async def test_a_bug_of_the_last_flush_is_logged_with_its_traceback(
    error: Exception, level: int, has_traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = ShopApp(open_shop())
    app.sink = Sink(error)
    with caplog.at_level(logging.DEBUG, "yasdg_app"):
        await app._flush_sink()
    failed, warning = caplog.records
    assert (failed.levelno, bool(failed.exc_info)) == (level, has_traceback)
    assert warning.getMessage() == "SQLite lacks the latest state of 3 products. The next start writes it."
