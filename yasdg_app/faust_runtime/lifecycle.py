"""The worker as its pipeline sees it: whether it is stopping, and how to end it."""

from collections.abc import Coroutine
from typing import Any, Protocol


class Lifecycle(Protocol):
    """The worker's life: the Faust app, or a stand-in in tests."""

    @property
    def is_closing(self) -> bool:
        """True from the moment when the worker was asked to stop: no more sales are produced."""
        ...

    @property
    def should_stop(self) -> bool:
        """True when services are stopping."""
        ...

    async def crash(self, reason: BaseException) -> None:
        """End the worker with an error."""
        ...

    def request_stop(self) -> None:
        """Stop the worker in order, as a termination signal does."""
        ...

    async def sleep(self, n: float) -> None:
        """Sleep for some seconds, or until the worker stops."""
        ...

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it or the worker ends; an exception in it crashes the worker."""
        ...
