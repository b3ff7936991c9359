"""Checks that the announced incidents are those of the plan."""

from collections.abc import Sequence
from itertools import islice

import msgspec

from yasdg_app.audit.report import AuditFinding, AuditReport
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.reference import announcement, encode
from yasdg_app.messages.times import event_time
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Plan


class Timed(msgspec.Struct):
    """The field of an announcement that shows how far the announcements reach."""

    event_time: str


_read = msgspec.json.Decoder(Timed).decode


def check_incidents(records: Sequence[Message], plan: Plan, topic: str, report: AuditReport, deleted: int = 0) -> None:
    """Compare the incidents topic with what the plan announces, from the first announcement on, in order.

    Only the first difference is reported, because all later announcements would be shifted.

    Parameters
    ----------
    records
        The shop's remaining messages on the topic.
    plan
        With all changes from the control topic, which was read after the incidents topic.
    deleted
        Number of earlier announcements that were deleted.
    """
    report.incidents = len(records)
    last = max((_time(record, plan.opened_at) for record in records), default=plan.opened_at)
    announced = islice(plan.incidents.announcements(plan.opened_at, last + 1), deleted, None)
    for record in records:
        wrong = _wrong(record, next(announced, None))
        if wrong:
            report.add(AuditFinding("wrong announcement", topic, 0, record.offset, wrong))
            return


def _wrong(record: Message, right: tuple[int, str, Incident] | None) -> str:
    """Return what is wrong with an announcement; an empty text if it is right."""
    if right is None:
        return "expected no further incident: the plan has none by then"
    wanted = encode(announcement(*right))
    _, phase, incident = right
    if record.value == wanted:
        key, expected = record.key, incident.name.encode()
        return "" if key == expected else f"the {phase} of {incident.name} has the key {key!r}, expected {expected!r}"
    return f"expected {wanted.decode()}"


def _time(record: Message, otherwise: int) -> int:
    at = decoded_or_none(_event_time, record.value)
    return otherwise if at is None else at


def _event_time(value: bytes) -> int:
    return event_time(_read(value).event_time)
