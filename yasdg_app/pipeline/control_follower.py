"""What this worker knows of the control topic: the plan that it goes by, and the event time up to which it may.

What is set there takes effect at a time ahead (see control_records.py), so a worker that goes no further than it knows
has the same plan as all others.
"""

import asyncio
import logging
import time
from typing import Any

from aiokafka.errors import KafkaError

from yasdg_app.application import app
from yasdg_app.cluster_state import control_records
from yasdg_app.shop.plan import Plan

logger = logging.getLogger(__name__)

EVERY = 0.5  # seconds between two looks at the topic
LONG = 10_000_000  # microseconds without a look that are worth a word
FRESH = 1_000_000  # microseconds: the age of a look on the strength of which messages of others are read


class Watch:
    """Looks at the control topic now and again."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._looked_at = 0  # when the topic was last read, microseconds since 1970
        self._control = control_records.ControlState(record_count=-1)
        self._looking = asyncio.Lock()
        self._warned = False

    @property
    def plan(self) -> Plan:
        """The plan by all that is known; before the shop has opened there is none."""
        if self._plan is None:
            self._plan = Plan.of(app.shop, app.products, app.opening.opened_at)
        return self._plan

    @property
    def said(self) -> control_records.ControlState:
        """What the topic said when it was last read."""
        return self._control

    @property
    def horizon(self) -> int:
        """Event time up to which the plan is known to hold."""
        return control_records.horizon(app.opening.clock, self._looked_at)

    async def look(self) -> None:
        """Read what is new. Raises KafkaError if the cluster does not answer."""
        async with self._looking:
            began = time.time_ns() // 1000
            said = await app.control.read()
            if said.record_count != self._control.record_count:
                self._control = said
                self._plan = self.plan.with_control(said.live, said.gaps)
            self._looked_at = began
            self._warned = False

    def complain(self, error: KafkaError) -> None:
        """Say once that the topic cannot be read, if that lasts: nothing is sold until it can."""
        if self._looked_at and time.time_ns() // 1000 - self._looked_at > LONG and not self._warned:
            self._warned = True
            logger.warning("The control topic cannot be read (%s): nothing is sold until it can.", error)

    async def up_to_date(self) -> None:
        """Wait until the plan is known to hold for whatever was written by now."""
        wanted = time.time_ns() // 1000 - FRESH
        while self._looked_at < wanted and not app.should_stop:
            try:
                await self.look()
            except KafkaError:
                await asyncio.sleep(EVERY)


watch = Watch()


@app.timer(EVERY)
async def look() -> Any:
    """Keep the plan up to date."""
    try:
        await watch.look()
    except KafkaError as error:
        watch.complain(error)
