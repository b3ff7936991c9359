"""What becomes of the time in which no worker ran, where the shop does not make up for it ([CLOCK] on_restart = skip).

The first worker that comes back writes on the control topic that nobody came meanwhile, and then it is so for all.
"""

import asyncio
import logging
import time

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from yasdg_app.cluster_state.control import ClockAheadError, ControlTopic
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import administration, check
from yasdg_app.kafka.reader import Reader
from yasdg_app.messages.times import time_text
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.plan import Gap

logger = logging.getLogger(__name__)

SHORTEST = 60_000_000  # microseconds of event time; less is made up for
GHOST = 7.0  # seconds in which the group gives up on members that died with the broker
ATTEMPTS = 10


async def leave_out_absence(
    connection: Connection, kafka: KafkaSettings, clock: Clock, reader: Reader, control: ControlTopic
) -> None:
    """Leave out the time between the last message of the shop and now, unless a worker runs or it was not long.

    `reader`: of the shop's own records.

    Whoever decides on it has read the control topic before; a worker that sells was in the group, and has written on
    the topic, before it began: either it is seen here, or what was decided is not taken.

    Raises KafkaError if the cluster does not answer.
    """
    for _ in range(ATTEMPTS):
        said = await control.read()
        last, now = await last_message(reader, kafka), clock.at(time.time_ns() // 1000)
        if last is None:
            return  # nobody has sold anything yet: the shop begins where it was opened
        last = max([last, *(gap.until for gap in said.gaps)])
        if now - last < SHORTEST or await _somebody_works(connection, kafka.application_id):
            return
        try:
            is_left_out = await control.leave_out(Gap(last, now), said)
        except ClockAheadError as error:
            logger.warning("Time without a worker is made up for, not left out: %s.", error)
            return
        if is_left_out:
            logger.info("Nobody came from %s to %s (UTC): [CLOCK] on_restart = skip.", time_text(last), time_text(now))
            return
    logger.warning("Time without a worker is made up for, not left out: others write on the control topic.")


async def _somebody_works(connection: Connection, group: str) -> bool:
    """Tell whether the group has members who are still there after the time in which it notices that they are not."""
    async with administration(connection) as admin:
        if not await _members(admin, group):
            return False
        await asyncio.sleep(GHOST)
        return await _members(admin, group)


async def _members(admin: AIOKafkaAdminClient, group: str) -> bool:
    (response,) = await admin.describe_consumer_groups([group])
    ((code, _, _, _, _, members, *_),) = response.groups
    check(code)
    return bool(members)


async def last_message(reader: Reader, kafka: KafkaSettings) -> int | None:
    """Return an event time that no sale and no lost sale is later than; None if there is none at all."""
    tps = [
        TopicPartition(topic, partition)
        for topic in (kafka.topic_purchases, kafka.topic_lost_sales)
        for partition in range(kafka.partitions)
    ]
    last = await asyncio.gather(*map(reader.last, tps))
    times = [message.timestamp for message, _ in last if message is not None]
    return (max(times) + 1) * 1000 if times else None  # they are in milliseconds, rounded down
