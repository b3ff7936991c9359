"""Skipping downtime: with [CLOCK] on_restart = skip, the time in which no worker ran has no customers.

The first worker that starts again writes this gap to the control topic, so that it holds for all.
"""

import asyncio
import logging
import time

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from yasdg_app.cluster_state.control_topic import ClockAheadError, ControlTopic
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import administration, check
from yasdg_app.kafka.reader import Reader
from yasdg_app.messages.times import time_text
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.plan import Gap

logger = logging.getLogger(__name__)

MIN_DOWNTIME_MICROSECONDS = 60_000_000  # of event time; shorter gaps are backfilled
DEAD_MEMBER_SECONDS = 7.0  # after which the group has removed members that died with the broker
SKIP_ATTEMPTS = 10


async def skip_downtime(
    connection: Connection, kafka: KafkaSettings, clock: Clock, reader: Reader, control: ControlTopic
) -> None:
    """Skip the time between the shop's last message and now, unless another worker runs or the gap is short.

    The state of the control topic is read before anything else. A worker that sells joined the group and wrote its
    presence to that topic before its first sale: either it is seen here as a member, or the gap is rejected.

    `reader`: of the shop's own records. Raises KafkaError if the cluster does not answer.
    """
    for _ in range(SKIP_ATTEMPTS):
        state = await control.read()
        last, now = await latest_event_time(reader, kafka), clock.at(time.time_ns() // 1000)
        if last is None:
            return  # nothing was sold yet: the shop begins when it was opened
        last = max([last, *(gap.until for gap in state.gaps)])
        if now - last < MIN_DOWNTIME_MICROSECONDS or await _is_group_active(connection, kafka.application_id):
            return
        try:
            is_skipped = await control.skip(Gap(last, now), state)
        except ClockAheadError as error:
            logger.warning("The downtime is backfilled, not skipped: %s.", error)
            return
        if is_skipped:
            logger.info(
                "Skipped the downtime from %s to %s (UTC): [CLOCK] on_restart = skip.", time_text(last), time_text(now)
            )
            return
    logger.warning("The downtime is backfilled, not skipped: other clients write to the control topic.")


async def _is_group_active(connection: Connection, group: str) -> bool:
    """Return whether the group has members, and still has some once dead ones have been removed."""
    async with administration(connection) as admin:
        if not await _has_members(admin, group):
            return False
        await asyncio.sleep(DEAD_MEMBER_SECONDS)
        return await _has_members(admin, group)


async def _has_members(admin: AIOKafkaAdminClient, group: str) -> bool:
    (response,) = await admin.describe_consumer_groups([group])
    ((code, _, _, _, _, members, *_),) = response.groups
    check(code)
    return bool(members)


async def latest_event_time(reader: Reader, kafka: KafkaSettings) -> int | None:
    """Return an event time, in microseconds, that no sale and no lost sale is later than; None if there are none.

    Raises KafkaError.
    """
    tps = [
        TopicPartition(topic, partition)
        for topic in (kafka.topic_purchases, kafka.topic_lost_sales)
        for partition in range(kafka.partitions)
    ]
    last = await asyncio.gather(*map(reader.last, tps))
    times = [message.timestamp for message, _ in last if message is not None]
    return (max(times) + 1) * 1000 if times else None  # they are in milliseconds, rounded down
