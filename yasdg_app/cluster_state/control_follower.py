"""Follows the control topic: keeps the plan up to date, and the event time up to which it is known to hold.

A change takes effect some time after it was written (see control_records.py). So all workers use the same plan, as long
as none of them produces sales beyond its horizon.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from aiokafka.errors import KafkaError

from yasdg_app.cluster_state import control_records
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.shop.plan import Plan

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Pause between two reads of the topic."""
WARN_AFTER_MICROSECONDS = 10_000_000
"""Time without a successful read after which a warning is logged."""
MAX_AGE_MICROSECONDS = 1_000_000
"""Maximum age of the last read when messages of other workers are processed."""


class ControlFollower:
    """Reads the control topic at regular intervals.

    Parameters
    ----------
    shop
        The shop; it has to be open before anything is read.
    should_stop
        Returns whether the worker is stopping; then nothing is waited for.
    """

    def __init__(self, shop: RunningShop, should_stop: Callable[[], bool]) -> None:
        self._shop = shop
        self._should_stop = should_stop
        self._plan: Plan | None = None
        self._read_at = 0  # when the topic was last read, microseconds since 1970
        self._state = control_records.ControlState(record_count=-1)
        self._reading = asyncio.Lock()
        self._has_warned = False

    @property
    def plan(self) -> Plan:
        """The plan as of the last read. Raises ShopNotOpenError before the shop has opened."""
        if self._plan is None:
            shop = self._shop
            self._plan = Plan.of(shop.settings, shop.products, shop.manifest.opened_at)
        return self._plan

    @property
    def state(self) -> control_records.ControlState:
        """The state of the topic as of the last read."""
        return self._state

    @property
    def horizon(self) -> int:
        """Event time up to which the plan is known to hold, in microseconds since 1970."""
        return control_records.horizon(self._shop.clock, self._read_at)

    async def poll(self) -> None:
        """Read what is new; log a warning if the topic has been unreadable for long."""
        try:
            await self.refresh()
        except KafkaError as error:
            self._warn_if_outdated(error)

    async def refresh(self) -> None:
        """Read what is new. Raises KafkaError if the cluster does not respond."""
        async with self._reading:
            began = time.time_ns() // 1000
            state = await self._shop.control.read()
            if state.record_count != self._state.record_count:
                self._state = state
                self._plan = self.plan.with_control(state.live, state.gaps)
            self._read_at = began
            self._has_warned = False

    def _warn_if_outdated(self, error: KafkaError) -> None:
        """Log once if the topic has been unreadable for long: nothing is sold until it can be read."""
        age = time.time_ns() // 1000 - self._read_at
        if self._read_at and age > WARN_AFTER_MICROSECONDS and not self._has_warned:
            self._has_warned = True
            logger.warning("The control topic cannot be read (%s): nothing is sold until it can.", error)

    async def wait_up_to_date(self) -> None:
        """Wait until the plan is known to hold for all messages that were written by now."""
        wanted = time.time_ns() // 1000 - MAX_AGE_MICROSECONDS
        while self._read_at < wanted and not self._should_stop():
            try:
                await self.refresh()
            except KafkaError:
                await asyncio.sleep(POLL_SECONDS)
