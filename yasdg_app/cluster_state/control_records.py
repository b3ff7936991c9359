"""The records of the control topic, and what they say together: incidents set while the shop ran, and skipped gaps.

The topic is part of what the stream is a function of: every worker that has read it has the same plan. A record takes
effect at an event time that lies ahead, so that all workers have read it before they get there. The cluster's clock
says when a record was written; one that was written too late for its time has no effect in any worker. On the topic of
an older shop, which is compacted, no key is ever written twice: ending an incident takes a second record.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import orjson

from yasdg_app.config.catalog import Product
from yasdg_app.kafka.decoding import UNREADABLE
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.times import SECOND, event_time, time_text
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.demand import MINUTE
from yasdg_app.shop.incident import Incident, is_within_limits
from yasdg_app.shop.plan import Gap
from yasdg_app.shop.shelf import END_OF_TIME

LEAD_MICROSECONDS = 6 * SECOND  # from now to the earliest time for which something can be set
CUTOFF_MICROSECONDS = 4 * SECOND  # a record that was written later than this before its time has no effect
HORIZON_MICROSECONDS = 2 * SECOND  # after reading the topic, a worker knows all that holds until then
MAX_CLOCK_SKEW_MICROSECONDS = 86_400 * SECOND  # of a worker's clock ahead of the cluster's; far more than ever occurred
MAX_RECORD_BYTES = 1_048_000  # of a value: its announcement has to fit into a batch, of 1,048,588 bytes by default

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}")


class IncidentValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of a record that sets an incident: times in event time, the discount in ten-thousandths."""

    name: str
    kind: str
    start: str
    end: str
    ramp_up: int  # microseconds
    ramp_down: int  # microseconds
    categories: list[str]
    products: list[str]
    factor: float
    discount: int


class EndValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of a record that ends an incident early."""

    end: str


class GapValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of a record that skips time."""

    after: str
    until: str


@dataclass(frozen=True, slots=True)
class ControlState:
    """What the control topic says.

    Attributes
    ----------
    live
        The incidents that were set on it, as they are known so far.
    gaps
        The time that was skipped.
    record_count
        How many records the shop had appended to it.
    """

    live: tuple[Incident, ...] = ()
    gaps: tuple[Gap, ...] = ()
    record_count: int = 0

    @property
    def ended(self) -> frozenset[str]:
        """Names of live incidents that were ended early."""
        return frozenset(incident.name for incident in self.live if incident.planned_end is not None)


def horizon(clock: Clock, read_at: int) -> int:
    """Return the event time up to which a worker that read the topic at `read_at` knows everything that was set.

    Both in microseconds since 1970; `read_at`: by the machine's clock.
    """
    return clock.at(read_at + HORIZON_MICROSECONDS)


def earliest(clock: Clock, now: int) -> int:
    """Return the earliest event time, a whole minute, for which something can be set at `now`; in microseconds."""
    return -(-clock.at(now + LEAD_MICROSECONDS) // MINUTE) * MINUTE


@dataclass(frozen=True, slots=True)
class IncidentEnd:
    """An incident of that name ends at an event time, in microseconds since 1970."""

    name: str
    end: int


Statement = Incident | IncidentEnd | Gap
"""What one record of the control topic says."""


def read_control(records: Iterable[Message], clock: Clock, products: Sequence[Product]) -> ControlState:
    """Return what the shop's own records of the control topic say, in a shop with these products.

    Ignores records that do not count; see `statement_of`.
    """
    return control_of(statement_of(record, clock, products) for record in records)


def statement_of(record: Message, clock: Clock, products: Sequence[Product]) -> Statement | None:
    """Return what a record says; None if it does not count. Never raises.

    A record counts if this version or an earlier one may have written it: well-formed, within the limits of requests,
    about products of the shop, and appended in time. That is a function of the record and the manifest alone, so that
    all workers agree: anyone with write access to the topic may write anything. What counted once has to count for
    ever, so the limits are only ever widened.
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
                end = _time(msgspec.json.decode(value, type=EndValue).end)
                return IncidentEnd(name, end) if end >= _in_time(record, clock) and end % MINUTE == 0 else None
            case "gap":
                return _gap_that_counts(value, key, record, clock)
    except UNREADABLE:
        pass
    return None


def control_of(statements: Iterable[Statement | None], record_count: int = 0) -> ControlState:
    """Return what statements say together, in their order; `record_count`: how many records the shop had appended."""
    live: dict[str, Incident] = {}
    gaps: list[Gap] = []
    for statement in statements:
        match statement:
            case Incident():
                live.setdefault(statement.name, statement)  # later ones of the same name do not count
            case IncidentEnd(name, end) if name in live:
                incident = live[name]
                end = max(incident.start, min(incident.end, end))
                live[name] = replace(incident, end=end, planned_end=incident.planned)
            case Gap():
                gaps.append(statement)
    return ControlState(tuple(live.values()), tuple(gaps), record_count)


def _in_time(record: Message, clock: Clock) -> int:
    """Return the earliest event time for which a record was written in time; END_OF_TIME if that is not known."""
    # Without the time at which the cluster appended it, no record is known to have been in time.
    return clock.at(record.timestamp * 1000 + CUTOFF_MICROSECONDS) if record.timestamp > 0 else END_OF_TIME


def _incident_that_counts(value: bytes, name: str, in_time: int, products: Sequence[Product]) -> Incident | None:
    incident = _incident(msgspec.json.decode(value, type=IncidentValue))
    counts = (
        incident.name == name
        and incident.start >= in_time
        and is_within_limits(incident)
        and _has_all_of(products, incident)
    )
    return incident if counts else None


def _gap_that_counts(value: bytes, key: bytes, record: Message, clock: Clock) -> Gap | None:
    gap_value = msgspec.json.decode(value, type=GapValue)
    gap = Gap(_time(gap_value.after), _time(gap_value.until))
    # Only time that has passed is skipped; without the time of the append, that cannot be checked.
    latest = clock.at(record.timestamp * 1000 + MAX_CLOCK_SKEW_MICROSECONDS) if record.timestamp > 0 else END_OF_TIME
    counts = key == gap_record(gap).key and clock.start <= gap.after < gap.until <= latest
    return gap if counts else None


def _time(text: str) -> int:
    """Return an event time as these records have it. Raises ValueError if it has another format."""
    if not _TIME.fullmatch(text):
        raise ValueError("expected a time such as 2026-01-01 08:30:00.000000")
    return event_time(text)


def _has_all_of(products: Sequence[Product], incident: Incident) -> bool:
    """Return whether a catalog has all products and categories that an incident names."""
    ids, categories = set(incident.products), set(incident.categories)
    for product in products if ids or categories else ():  # there may be a million of them
        ids.discard(product.product_id)
        categories.discard(product.category)
        if not (ids or categories):
            break
    return not (ids or categories)


def incident_record(incident: Incident) -> ProducerRecord:
    """Return the record that sets an incident."""
    value = IncidentValue(
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
    return _record("incident", incident.name, msgspec.to_builtins(value))


def end_record(name: str, end: int) -> ProducerRecord:
    """Return the record that ends an incident at an event time."""
    return _record("end", name, {"end": time_text(end)})


def gap_record(gap: Gap) -> ProducerRecord:
    """Return the record that skips time."""
    return _record(
        "gap",
        f"{time_text(gap.after)}/{time_text(gap.until)}",
        {"after": time_text(gap.after), "until": time_text(gap.until)},
    )


def _record(kind: str, name: str, content: Any) -> ProducerRecord:
    return ProducerRecord(f"{kind}/{name}".encode(), orjson.dumps(content), 0)  # the cluster sets the timestamp


def _incident(value: IncidentValue) -> Incident:
    return Incident(
        name=value.name,
        kind=value.kind,
        start=_time(value.start),
        end=_time(value.end),
        ramp_up=value.ramp_up,
        ramp_down=value.ramp_down,
        categories=frozenset(value.categories),
        products=frozenset(value.products),
        factor=value.factor,
        discount=value.discount,
    )
