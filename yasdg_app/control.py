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

import msgspec
import orjson
from aiokafka import TopicPartition

from yasdg_app.errors import YasdgError
from yasdg_app.messages import event_time, time_text
from yasdg_app.producer import OutOfDateError, Row, ShopProducer
from yasdg_app.reading import Message, Reader
from yasdg_app.settings import IncidentSettings
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incidents import Incident, incident_of
from yasdg_app.shop.plan import Gap

SECOND = 1_000_000  # microseconds
AHEAD = 6 * SECOND  # of now: the earliest time for which something is set
IN_TIME = 4 * SECOND  # what was written later than that before its time has no effect
ATTEMPTS = 10  # to write a record
RETRY = 0.2  # seconds
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
    ended
        Names of live incidents that somebody ended.
    """

    live: tuple[Incident, ...] = ()
    gaps: tuple[Gap, ...] = ()
    number: int = 0
    ended: frozenset[str] = frozenset()


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
    ended: set[str] = set()
    number = 0
    for record in records:
        number = record.offset + 1
        kind, _, name = (record.key or b"").decode(errors="replace").partition("/")
        too_late = clock.at(record.timestamp * 1000 + IN_TIME)
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
                    ended.add(name)
            elif kind == "gap":
                left_out = msgspec.json.decode(record.value or b"", type=LeftOut)
                gaps.append(Gap(event_time(left_out.after), event_time(left_out.until)))
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            continue
    return Control(tuple(live.values()), tuple(gaps), number, frozenset(ended))


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
    return _row("gap", time_text(gap.after), {"after": time_text(gap.after), "until": time_text(gap.until)})


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
            If there is one of that name.
        TooEarlyError
            If it would begin too early to be known to all.
        ControlError
            If the cluster is too slow.
        """
        incident = None
        for _ in range(ATTEMPTS):
            said = await self.read()
            if incident is not None and incident in said.live:
                return incident  # the cluster took it and did not say so
            if taken(settings.name) or any(incident.name == settings.name for incident in said.live):
                raise ConflictError(f"name: there is an incident {settings.name} already. Choose another name")
            soonest = earliest(self._clock, time.time_ns() // 1000)
            start = soonest if settings.start is None else utc(settings.start)
            if start < soonest:
                raise TooEarlyError(
                    f"start: {settings.start} is too early. Expected a time from {time_text(soonest)} (UTC) on, or "
                    "none: it then begins as soon as all workers know of it"
                )
            incident = incident_of(settings, settings.name, start // MINUTE)
            if await self._write(said, incident_row(incident)) and incident in (await self.read()).live:
                return incident
        raise ControlError("The control topic does not take it in time: the cluster is slow. Try again")

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
            if attempt and name in said.ended:
                return incident  # the cluster took it and did not say so, or somebody else ended it
            if incident.start == incident.end:
                raise ConflictError(f"name: {name} was ended before it began")
            end = earliest(self._clock, time.time_ns() // 1000)
            if incident.end <= end:
                raise ConflictError(f"name: {name} ends at {time_text(incident.end)} (UTC) anyway")
            if await self._write(said, ending_row(name, end)):
                said = await self.read()
                if name in said.ended:
                    return next(other for other in said.live if other.name == name)
        raise ControlError("The control topic does not take it in time: the cluster is slow. Try again")

    async def leave_out(self, gap: Gap) -> bool:
        """Leave out time that nobody has served yet; False if somebody has written to the topic meanwhile."""
        said = await self.read()
        return await self._write(said, gap_row(gap)) and gap in (await self.read()).gaps

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
