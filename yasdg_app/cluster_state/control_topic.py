"""The control topic: reads what was set while the shop ran, and writes to it as the shop's producer.

See control_records.py for what the records say, and when they count.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import uuid4

from aiokafka import TopicPartition

from yasdg_app.cluster_state.control_records import (
    MAX_CLOCK_SKEW_MICROSECONDS,
    ControlState,
    Statement,
    control_of,
    earliest,
    end_record,
    gap_record,
    incident_record,
    statement_of,
)
from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import IncidentSettings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka.producer import ProducerRecord, ShopProducer, StaleStateError
from yasdg_app.kafka.reader import Message, Reader
from yasdg_app.messages.times import SECOND, time_text
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incident import LATEST_START, Incident, incident_of
from yasdg_app.shop.plan import Gap

WRITE_ATTEMPTS = 10
RETRY_SECONDS = 0.2
MAX_INCIDENTS = 500  # set on the topic, and upcoming or active; each of them is looked at in every minute
PRESENCE_KEY = b"here"  # of the record of a worker that is about to sell
PRESENCE_BYTES = 32  # of its value, an id


class ControlError(YasdgError):
    """A change was not applied: for the reason of a subclass, otherwise because the cluster is too slow."""


class TooEarlyError(ControlError):
    """An incident would begin before all workers know of it."""


class ClockAheadError(ControlError):
    """The clock of this machine is too far ahead of the cluster's to skip time until now."""


class IncidentConflictError(ControlError):
    """The change conflicts with the incidents that exist: their names, their number, or that one ends anyway."""


class UnknownIncidentError(ControlError):
    """No incident of that name was set on the topic."""


class ControlTopic:
    """Reads the control topic, and writes to it as the shop's producer.

    Parameters
    ----------
    topic
        Its name.
    clock
        The shop's.
    products
        Of the shop's catalog.
    reader, producer
        Both with the shop's producer id: only the shop's own records are read.
    last_sold
        Returns an event time, in microseconds, that no sale in the logs is later than; None if there is no sale.
    """

    def __init__(
        self,
        topic: str,
        clock: Clock,
        products: Sequence[Product],
        reader: Reader,
        producer: ShopProducer,
        last_sold: Callable[[], Awaitable[int | None]],
    ) -> None:
        self._last_sold = last_sold
        self._tp = TopicPartition(topic, 0)
        self._clock = clock
        self._products = products
        self._reader = reader
        self._producer = producer
        self._statements: list[Statement] = []
        self._present: set[bytes] = set()  # ids of the workers that have announced their presence
        self._has_times = True  # whether the last record has the time at which the cluster appended it
        self._written_at = 0  # that time by the cluster's clock, microseconds since 1970
        self._position = 0  # next offset to read
        self._record_count = 0  # how many records the shop has appended
        self._state = ControlState()
        self._reading = asyncio.Lock()

    async def read(self) -> ControlState:
        """Return what the topic says now. Raises KafkaError."""
        async with self._reading:  # two at once would add the same records twice
            end = (await self._reader.ends([self._tp]))[self._tp]
            if end > self._position:
                first = (await self._reader.firsts([self._tp]))[self._tp]
                async for chunk in self._reader.all_chunks(self._tp, max(first, self._position), end):
                    for record in chunk.messages:  # not collected: there may be many that do not count
                        self._take(record)
                    self._position = chunk.end
                    self._record_count = self._record_count if chunk.count is None else chunk.count
                if not self._record_count:  # the shop has written nothing, or it was deleted
                    self._record_count = await self._reader.count(self._tp)
                self._state = control_of(self._statements, self._record_count)
            return self._state

    def _take(self, record: Message) -> None:
        self._has_times, self._written_at = record.timestamp > 0, record.timestamp * 1000
        if (statement := statement_of(record, self._clock, self._products)) is not None:
            self._statements.append(statement)
        elif record.key == PRESENCE_KEY and record.value is not None and len(record.value) == PRESENCE_BYTES:
            self._present.add(record.value)

    async def set_incident(
        self, settings: IncidentSettings, is_configured: Callable[[str], bool], utc: Callable[[datetime], int]
    ) -> Incident:
        """Set an incident; return it once it is on the topic, in time.

        Parameters
        ----------
        settings
            The incident; without `start` it begins as soon as all workers know of it.
        is_configured
            Returns whether a name is that of an incident of the configuration.
        utc
            Converts a time on the shop's clock to event time, in microseconds.

        Raises
        ------
        IncidentConflictError
            If there is one of that name, or if there are too many.
        TooEarlyError
            If it would begin before all workers know of it.
        ControlError
            If the cluster is too slow.
        """
        tried: list[Incident] = []
        for _ in range(WRITE_ATTEMPTS):
            state = await self.read()
            if found := [incident for incident in tried if incident in state.live]:
                return found[0]  # the cluster appended it, and the response was lost
            if is_configured(settings.name) or any(incident.name == settings.name for incident in state.live):
                raise IncidentConflictError(f"name: there is an incident {settings.name} already. Choose another name")
            now = self._clock.at(time.time_ns() // 1000)
            if sum(not incident.is_over(now) for incident in state.live) >= MAX_INCIDENTS:
                raise IncidentConflictError(
                    f"{MAX_INCIDENTS} incidents are upcoming or active, which is the maximum. "
                    "End one of them, or wait until one is over"
                )
            soonest = await self._soonest()
            start = soonest if settings.start is None else utc(settings.start)
            if start < soonest:
                raise TooEarlyError(
                    f"start: {settings.start} is too early. Expected a time from {time_text(soonest)} (UTC) on, or "
                    "none: it then begins as soon as all workers know of it"
                )
            tried.append(incident_of(settings, settings.name, start // MINUTE))
            if await self._write(state, incident_record(tried[-1])) and tried[-1] in (await self.read()).live:
                return tried[-1]
        raise self._too_slow()

    async def end(self, name: str) -> Incident:
        """End an incident that was set on the topic; return it as it is then.

        Raises
        ------
        UnknownIncidentError
            If there is none of that name.
        IncidentConflictError
            If it was ended before, or ends as early anyway.
        ControlError
            If the cluster is too slow.
        """
        for attempt in range(WRITE_ATTEMPTS):
            state = await self.read()
            incident = next((incident for incident in state.live if incident.name == name), None)
            if incident is None:
                raise UnknownIncidentError(f"name: there is no incident {name} that was set while the shop ran")
            if name in state.ended:
                if attempt:
                    return incident  # the cluster appended it and the response was lost, or another client ended it
                # On a compacted topic a second record would replace the first, and it may itself be too late.
                when = f"at {time_text(incident.end)} (UTC)" if incident.start < incident.end else "before it began"
                raise IncidentConflictError(f"name: {name} was ended {when}")
            end = await self._soonest()
            if incident.end <= end:
                raise IncidentConflictError(f"name: {name} ends at {time_text(incident.end)} (UTC) anyway")
            if await self._write(state, end_record(name, end)):
                state = await self.read()
                if name in state.ended:
                    return next(other for other in state.live if other.name == name)
        raise self._too_slow()

    async def skip(self, gap: Gap, state: ControlState) -> bool:
        """Skip time; return False if another client has written to the topic since it was read as `state`.

        Raises ClockAheadError if the cluster's clock is more than a day before the end of the gap.
        """
        if not await self._write(state, gap_record(gap)):
            return False
        if gap in (await self.read()).gaps:
            return True
        if self._has_times and gap.until > self._clock.at(self._written_at + MAX_CLOCK_SKEW_MICROSECONDS):
            hours = MAX_CLOCK_SKEW_MICROSECONDS // SECOND // 3600
            raise ClockAheadError(
                f"the clock of this machine is more than {hours} h ahead of the cluster's, which shows "
                f"{time_text(self._written_at)[:19]} (UTC). Set the one that is wrong"
            )
        return False

    async def announce_presence(self) -> None:
        """Write that this worker is about to sell, so that no other can skip time by an earlier state of the topic."""
        worker_id = uuid4().hex.encode()
        while worker_id not in self._present:
            await self._write(await self.read(), ProducerRecord(PRESENCE_KEY, worker_id, 0))
            await self.read()

    async def _soonest(self) -> int:
        """Return the earliest event time for which something can be set now, later than all that was sold."""
        sold = await self._last_sold()  # after the clock's time if this machine's clock, or another's, was set back
        soonest = earliest(self._clock, time.time_ns() // 1000)
        if sold is None or sold >= LATEST_START:  # not the time of a sale
            return soonest
        return max(soonest, (sold // MINUTE + 1) * MINUTE)

    def _too_slow(self) -> ControlError:
        if not self._has_times:
            return ControlError(f"{self._tp.topic} needs message.timestamp.type=LogAppendTime. Set it, and try again")
        return ControlError(
            f"{self._tp.topic} did not accept the change in time: the cluster is slow, or another producer has written "
            "to the topic. Try again"
        )

    async def _write(self, state: ControlState, record: ProducerRecord) -> bool:
        """Append a record unless another client has written since `state`; read the topic to see whether it is there.

        (The broker takes a record for a retry of the last one if both have the same base sequence.)
        """
        try:
            await self._producer.append(self._tp.topic, 0, state.record_count, [record])
        except StaleStateError:
            await asyncio.sleep(RETRY_SECONDS)
            return False
        return True
