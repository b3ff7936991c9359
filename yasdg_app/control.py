"""The control topic: incidents that were set while the shop ran, and time that it left out.

The topic is part of what the stream is a function of: whoever reads it has the same plan. What is written takes effect
at an event time that lies ahead, so that all workers know of it before they come there. The cluster's own clock tells
when a record was written; one that came too late for its time has no effect for anybody. The topic is compacted, so
what was written is never written over: an incident that is ended gets a second record.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
import orjson
from aiokafka import TopicPartition

from yasdg_app.errors import YasdgError
from yasdg_app.messages import SECOND, event_time, time_text
from yasdg_app.producer import OutOfDateError, Row, ShopProducer
from yasdg_app.reading import Message, Reader
from yasdg_app.settings import IncidentSettings
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incidents import Incident, incident_of
from yasdg_app.shop.plan import Gap
from yasdg_app.shop.shelf import NEVER

AHEAD = 6 * SECOND  # of now: the earliest time for which something is set
IN_TIME = 4 * SECOND  # what was written later than that before its time has no effect
ATTEMPTS = 10  # to write a record
MAX_INCIDENTS = 500  # set on the topic that are ahead or running; each of them is looked at in every minute
RETRY = 0.2  # seconds
HERE = b"here"  # key of the record of a worker that is about to sell
KNOWN = 2 * SECOND  # whoever has read the topic knows what holds until then


class LiveIncident(msgspec.Struct, frozen=True):
    """An incident as it stands on the control topic: times in event time, the discount in ten-thousandths."""

    name: str
    kind: str
    start: str
    end: str
    ramp_up: int  # microseconds
    ramp_down: int
    categories: list[str]
    products: list[str]
    factor: float
    discount: int


class Ending(msgspec.Struct, frozen=True):
    """That an incident ends earlier."""

    end: str


class LeftOut(msgspec.Struct, frozen=True):
    """A gap."""

    after: str
    until: str


@dataclass(frozen=True, slots=True)
class Control:
    """What the control topic says.

    Attributes
    ----------
    live
        The incidents, as they are known by now.
    gaps
        Time that was left out.
    number
        Of records written so far.
    """

    live: tuple[Incident, ...] = ()
    gaps: tuple[Gap, ...] = ()
    number: int = 0

    @property
    def ended(self) -> frozenset[str]:
        """Names of live incidents that somebody ended."""
        return frozenset(incident.name for incident in self.live if incident.planned_end is not None)


def horizon(clock: Clock, read_at: int) -> int:
    """Return the event time up to which all is known to whoever read the topic when it was `read_at`."""
    return clock.at(read_at + KNOWN)


def earliest(clock: Clock, now: int) -> int:
    """Return the earliest event time for which something can be set when it is `now`: a whole minute."""
    return -(-clock.at(now + AHEAD) // MINUTE) * MINUTE


def read_control(records: Iterable[Message], clock: Clock) -> Control:
    """Return what the records of the control topic say. What is none of its own, or came too late, is left out."""
    live: dict[str, Incident] = {}
    gaps: list[Gap] = []
    number = 0
    for record in records:
        number = record.offset + 1
        kind, _, name = (record.key or b"").decode(errors="replace").partition("/")
        # Where the cluster does not tell when it took a record, nothing is known to have come in time.
        too_late = clock.at(record.timestamp * 1000 + IN_TIME) if record.timestamp > 0 else NEVER
        try:
            if kind == "incident":
                incident = _incident(msgspec.json.decode(record.value or b"", type=LiveIncident))
                if incident.start >= too_late:
                    live[name] = incident
            elif kind == "end" and name in live:
                end = event_time(msgspec.json.decode(record.value or b"", type=Ending).end)
                if end >= too_late:
                    of = live[name]
                    live[name] = replace(of, end=max(of.start, min(of.end, end)), planned_end=of.planned)
            elif kind == "gap":
                left_out = msgspec.json.decode(record.value or b"", type=LeftOut)
                gaps.append(Gap(event_time(left_out.after), event_time(left_out.until)))
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            continue
    return Control(tuple(live.values()), tuple(gaps), number)


def incident_row(incident: Incident) -> Row:
    """Return the record that sets an incident."""
    record = LiveIncident(
        name=incident.name,
        kind=incident.kind,
        start=time_text(incident.start),
        end=time_text(incident.end),
        ramp_up=incident.ramp_up,
        ramp_down=incident.ramp_down,
        categories=sorted(incident.categories),
        products=sorted(incident.products),
        factor=incident.factor,
        discount=incident.discount,
    )
    return _row("incident", incident.name, msgspec.to_builtins(record))


def ending_row(name: str, end: int) -> Row:
    """Return the record that ends an incident at an event time."""
    return _row("end", name, {"end": time_text(end)})


def gap_row(gap: Gap) -> Row:
    """Return the record that leaves out time."""
    return _row(
        "gap",
        f"{time_text(gap.after)}/{time_text(gap.until)}",
        {"after": time_text(gap.after), "until": time_text(gap.until)},
    )


def _row(kind: str, name: str, content: Any) -> Row:
    return Row(f"{kind}/{name}".encode(), orjson.dumps(content), 0)  # the cluster sets the time


def _incident(told: LiveIncident) -> Incident:
    return Incident(
        name=told.name,
        kind=told.kind,
        start=event_time(told.start),
        end=event_time(told.end),
        ramp_up=told.ramp_up,
        ramp_down=told.ramp_down,
        categories=frozenset(told.categories),
        products=frozenset(told.products),
        factor=told.factor,
        discount=told.discount,
    )


class ControlError(YasdgError):
    """What was to be set cannot be: if it is none of the following, because the cluster is slow."""


class TooEarlyError(ControlError):
    """An incident would begin before all workers know of it."""


class ConflictError(ControlError):
    """What is there already stands against it."""


class UnknownIncidentError(ControlError):
    """Nobody set an incident of that name."""


class ControlTopic:
    """Reads the control topic, and writes to it as the shop's producer.

    Parameters
    ----------
    topic
        Its name.
    clock
        The shop's.
    reader, producer
        Through which it reads and writes.
    """

    def __init__(self, topic: str, clock: Clock, reader: Reader, producer: ShopProducer) -> None:
        self._tp = TopicPartition(topic, 0)
        self._clock = clock
        self._reader = reader
        self._producer = producer
        self._records: list[Message] = []
        self._number = 0
        self._said = Control()
        self._reading = asyncio.Lock()

    async def read(self) -> Control:
        """Return what the topic says now."""
        async with self._reading:  # two at once would put down the same records twice
            end = (await self._reader.ends([self._tp]))[self._tp]
            if end > self._number:
                new = await self._reader.read({self._tp: self._number})
                self._records += new[self._tp]
                self._number = max(end, self._records[-1].offset + 1 if self._records else 0)
                self._said = replace(read_control(self._records, self._clock), number=self._number)
            return self._said

    async def set_incident(
        self, settings: IncidentSettings, taken: Callable[[str], bool], utc: Callable[[datetime], int]
    ) -> Incident:
        """Set an incident; return it when it stands on the topic in time.

        Parameters
        ----------
        settings
            The incident; without `start` it begins as soon as all workers know of it.
        taken
            Whether a name is that of an incident of the configuration.
        utc
            Turns a time on the shop's clock into event time.

        Raises
        ------
        ConflictError
            If there is one of that name, or if there are too many.
        TooEarlyError
            If it would begin too early to be known to all.
        ControlError
            If the cluster is too slow.
        """
        tried: list[Incident] = []
        for _ in range(ATTEMPTS):
            said = await self.read()
            if its := [incident for incident in tried if incident in said.live]:
                return its[0]  # the cluster took it and did not say so
            if taken(settings.name) or any(incident.name == settings.name for incident in said.live):
                raise ConflictError(f"name: there is an incident {settings.name} already. Choose another name")
            now = time.time_ns() // 1000
            if sum(not incident.is_over(self._clock.at(now)) for incident in said.live) >= MAX_INCIDENTS:
                raise ConflictError(
                    f"{MAX_INCIDENTS} incidents are ahead or running, and there may be no more. "
                    "End one of them, or wait until one is over"
                )
            soonest = earliest(self._clock, now)
            start = soonest if settings.start is None else utc(settings.start)
            if start < soonest:
                raise TooEarlyError(
                    f"start: {settings.start} is too early. Expected a time from {time_text(soonest)} (UTC) on, or "
                    "none: it then begins as soon as all workers know of it"
                )
            tried.append(incident_of(settings, settings.name, start // MINUTE))
            if await self._write(said, incident_row(tried[-1])) and tried[-1] in (await self.read()).live:
                return tried[-1]
        raise self._not_taken()

    async def end(self, name: str) -> Incident:
        """End an incident that was set on the topic; return it as it is then.

        Raises
        ------
        UnknownIncidentError
            If there is none.
        ConflictError
            If it ends as early anyway.
        ControlError
            If the cluster is too slow.
        """
        for attempt in range(ATTEMPTS):
            said = await self.read()
            incident = next((incident for incident in said.live if incident.name == name), None)
            if incident is None:
                raise UnknownIncidentError(f"name: there is no incident {name} that was set while the shop ran")
            if name in said.ended:
                if attempt:
                    return incident  # the cluster took it and did not say so, or somebody else ended it
                # A second record would take the place of the first, and may be too late itself.
                when = f"at {time_text(incident.end)} (UTC)" if incident.start < incident.end else "before it began"
                raise ConflictError(f"name: {name} was ended {when}")
            end = earliest(self._clock, time.time_ns() // 1000)
            if incident.end <= end:
                raise ConflictError(f"name: {name} ends at {time_text(incident.end)} (UTC) anyway")
            if await self._write(said, ending_row(name, end)):
                said = await self.read()
                if name in said.ended:
                    return next(other for other in said.live if other.name == name)
        raise self._not_taken()

    async def leave_out(self, gap: Gap, said: Control) -> bool:
        """Leave out time; False if somebody has written to the topic since it said `said`."""
        return await self._write(said, gap_row(gap)) and gap in (await self.read()).gaps

    async def be_here(self) -> None:
        """Write that a worker is here, so that a gap on which somebody has decided before is not taken any more."""
        this = uuid4().hex
        while not any(record.value == this.encode() for record in self._records):
            await self._write(await self.read(), Row(HERE, this.encode(), 0))
            await self.read()

    def _not_taken(self) -> ControlError:
        if self._records and not self._records[-1].timestamp:
            return ControlError(f"{self._tp.topic} needs message.timestamp.type=LogAppendTime. Set it, and try again")
        return ControlError(
            f"{self._tp.topic} does not take it in time: the cluster is slow, or somebody else has written into the "
            "topic. Try again"
        )

    async def _write(self, said: Control, row: Row) -> bool:
        """Append a record, unless somebody else has written since `said`; read the topic to see whether it is there.

        (The cluster takes a record for a retry of the last one if both were meant to have the same number.)
        """
        try:
            await self._producer.append(self._tp.topic, 0, said.number, [row])
        except OutOfDateError:
            await asyncio.sleep(RETRY)
            return False
        return True
