"""The control topic: incidents that were set while the shop ran, and time that it left out.

The topic is part of what the stream is a function of: whoever reads it has the same plan. What is written takes effect
at an event time that lies ahead, so that all workers know of it before they come there. The cluster's own clock tells
when a record was written; one that came too late for its time has no effect for anybody. The topic of an older shop is
compacted, so what was written is never written over: an incident that is ended gets a second record.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
import orjson
from aiokafka import TopicPartition

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import IncidentSettings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka.decoding import UNREADABLE
from yasdg_app.kafka.producer import OutOfDateError, Row, ShopProducer
from yasdg_app.kafka.reader import Message, Reader
from yasdg_app.messages.times import SECOND, event_time, time_text
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incidents import LATEST_START, Incident, incident_of, is_within_limits
from yasdg_app.shop.plan import Gap
from yasdg_app.shop.shelf import NEVER

AHEAD = 6 * SECOND  # of now: the earliest time for which something is set
IN_TIME = 4 * SECOND  # what was written later than that before its time has no effect
ATTEMPTS = 10  # to write a record
MAX_INCIDENTS = 500  # set on the topic that are ahead or running; each of them is looked at in every minute
RETRY = 0.2  # seconds
HERE = b"here"  # key of the record of a worker that is about to sell
HERE_BYTES = 32  # of its value
MAX_CLOCK_SKEW = 86_400 * SECOND  # of a worker's clock ahead of the cluster's: far more than counted ones ever had
MAX_RECORD_BYTES = 1_048_000  # of a value: an announcement of it has to fit into a batch, of 1,048,588 bytes by default
KNOWN = 2 * SECOND  # whoever has read the topic knows what holds until then

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}")


class LiveIncident(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


class Ending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That an incident ends earlier."""

    end: str


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


@dataclass(frozen=True, slots=True)
class Ended:
    """That an incident of that name ends at an event time."""

    name: str
    end: int


Statement = Incident | Ended | Gap
"""What one record of the control topic says."""


def read_control(records: Iterable[Message], clock: Clock, products: Sequence[Product]) -> Control:
    """Return what the shop's own records of the control topic say, in a shop with these products.

    Ignored is what does not count; see `statement_of`.
    """
    return control_of(statement_of(record, clock, products) for record in records)


def statement_of(record: Message, clock: Clock, products: Sequence[Product]) -> Statement | None:
    """Return what a record says; None if it does not count.

    A record counts if it is one that this version or an earlier one may have written: well-formed, within the limits of
    requests, about products that the shop has, and taken by the cluster in time. It is a function of the record and the
    opening alone, so that all workers agree, and must never raise: anybody who may write to the topic may write
    anything. What counted once has to count for ever, so the limits are only ever widened.
    """
    key, value = record.key or b"", record.value or b""
    if len(value) > MAX_RECORD_BYTES:
        return None
    try:
        kind, _, name = key.decode().partition("/")
        match kind:
            case "incident":
                return _incident_that_counts(value, name, _in_time(record, clock), products)
            case "end":
                end = _time(msgspec.json.decode(value, type=Ending).end)
                return Ended(name, end) if end >= _in_time(record, clock) and end % MINUTE == 0 else None
            case "gap":
                return _gap_that_counts(value, key, record, clock)
    except UNREADABLE:
        pass
    return None


def control_of(statements: Iterable[Statement | None], number: int = 0) -> Control:
    """Return what statements say together, in their order; `number`: how many records the shop had appended by then."""
    live: dict[str, Incident] = {}
    gaps: list[Gap] = []
    for statement in statements:
        match statement:
            case Incident():
                live.setdefault(statement.name, statement)  # nobody sets one of a name that there is already
            case Ended(name, end) if name in live:
                of = live[name]
                live[name] = replace(of, end=max(of.start, min(of.end, end)), planned_end=of.planned)
            case Gap():
                gaps.append(statement)
    return Control(tuple(live.values()), tuple(gaps), number)


def _in_time(record: Message, clock: Clock) -> int:
    """Return the earliest event time for which a record was written in time."""
    # Where the cluster does not tell when it took a record, nothing is known to have come in time.
    return clock.at(record.timestamp * 1000 + IN_TIME) if record.timestamp > 0 else NEVER


def _incident_that_counts(value: bytes, name: str, in_time: int, products: Sequence[Product]) -> Incident | None:
    incident = _incident(msgspec.json.decode(value, type=LiveIncident))
    counts = (
        incident.name == name
        and incident.start >= in_time
        and is_within_limits(incident)
        and _has_all_of(products, incident)
    )
    return incident if counts else None


def _gap_that_counts(value: bytes, key: bytes, record: Message, clock: Clock) -> Gap | None:
    left_out = msgspec.json.decode(value, type=LeftOut)
    gap = Gap(_time(left_out.after), _time(left_out.until))
    # Only time that has passed is left out; where the cluster does not say when it took a record, that is not known.
    latest = clock.at(record.timestamp * 1000 + MAX_CLOCK_SKEW) if record.timestamp > 0 else NEVER
    counts = key == gap_row(gap).key and clock.start <= gap.after < gap.until <= latest
    return gap if counts else None


def _time(text: str) -> int:
    """Return a time as it is written here. Raises ValueError if it is written otherwise."""
    if not _TIME.fullmatch(text):
        raise ValueError("expected a time such as 2026-01-01 08:30:00.000000")
    return event_time(text)


def _has_all_of(products: Sequence[Product], incident: Incident) -> bool:
    """Tell whether a catalog has all that an incident names."""
    ids, categories = set(incident.products), set(incident.categories)
    for product in products if ids or categories else ():  # there may be a million of them
        ids.discard(product.product_id)
        categories.discard(product.category)
        if not (ids or categories):
            break
    return not (ids or categories)


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
        start=_time(told.start),
        end=_time(told.end),
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


class ClockAheadError(ControlError):
    """The clock of this machine is too far ahead of the cluster's to leave out time until now."""


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
    products
        Of the shop's catalog.
    reader, producer
        Through which it reads and writes: the shop's own records, and no others.
    last_sold
        Returns an event time that no sale in the logs is later than; None if there is none.
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
        self._here: set[bytes] = set()  # the workers that have written that they are here
        self._has_times = True  # whether the cluster tells when it took the last record
        self._written_at = 0  # when that was by its clock, microseconds since 1970
        self._position = 0  # next offset to read
        self._number = 0  # how many records the shop has appended
        self._said = Control()
        self._reading = asyncio.Lock()

    async def read(self) -> Control:
        """Return what the topic says now."""
        async with self._reading:  # two at once would put down the same records twice
            end = (await self._reader.ends([self._tp]))[self._tp]
            if end > self._position:
                first = (await self._reader.firsts([self._tp]))[self._tp]
                async for chunk in self._reader.all_chunks(self._tp, max(first, self._position), end):
                    for record in chunk.messages:  # not kept: there may be many that do not count
                        self._take(record)
                    self._position = chunk.end
                    self._number = self._number if chunk.count is None else chunk.count
                if not self._number:  # it has written nothing, or that was deleted
                    self._number = await self._reader.count(self._tp)
                self._said = control_of(self._statements, self._number)
            return self._said

    def _take(self, record: Message) -> None:
        self._has_times, self._written_at = record.timestamp > 0, record.timestamp * 1000
        if (statement := statement_of(record, self._clock, self._products)) is not None:
            self._statements.append(statement)
        elif record.key == HERE and record.value is not None and len(record.value) == HERE_BYTES:
            self._here.add(record.value)

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
            now = self._clock.at(time.time_ns() // 1000)
            if sum(not incident.is_over(now) for incident in said.live) >= MAX_INCIDENTS:
                raise ConflictError(
                    f"{MAX_INCIDENTS} incidents are ahead or running, and there may be no more. "
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
            end = await self._soonest()
            if incident.end <= end:
                raise ConflictError(f"name: {name} ends at {time_text(incident.end)} (UTC) anyway")
            if await self._write(said, ending_row(name, end)):
                said = await self.read()
                if name in said.ended:
                    return next(other for other in said.live if other.name == name)
        raise self._not_taken()

    async def leave_out(self, gap: Gap, said: Control) -> bool:
        """Leave out time; False if somebody has written to the topic since it said `said`.

        Raises ClockAheadError if the cluster's clock has not come near the end of the gap.
        """
        if not await self._write(said, gap_row(gap)):
            return False
        if gap in (await self.read()).gaps:
            return True
        if self._has_times and gap.until > self._clock.at(self._written_at + MAX_CLOCK_SKEW):
            raise ClockAheadError(
                f"the clock of this machine is more than {MAX_CLOCK_SKEW // SECOND // 3600} h ahead of the cluster's, "
                f"which shows {time_text(self._written_at)[:19]} (UTC). Set the one that is wrong"
            )
        return False

    async def be_here(self) -> None:
        """Write that a worker is here, so that a gap on which somebody has decided before is not taken any more."""
        this = uuid4().hex
        while this.encode() not in self._here:
            await self._write(await self.read(), Row(HERE, this.encode(), 0))
            await self.read()

    async def _soonest(self) -> int:
        """Return the earliest event time for which something can be set now, later than all that was sold."""
        sold = await self._last_sold()  # ahead of the clock where that, or another machine's, was set back
        soonest = earliest(self._clock, time.time_ns() // 1000)
        if sold is None or sold >= LATEST_START:  # no time of a sale
            return soonest
        return max(soonest, (sold // MINUTE + 1) * MINUTE)

    def _not_taken(self) -> ControlError:
        if not self._has_times:
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
