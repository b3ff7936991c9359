"""The report of an audit: findings, each with its place in the log, and how much was read."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from yasdg_app.errors import YasdgError
from yasdg_app.findings import Report
from yasdg_app.kafka.reader import Message

MAX_TEXT_CHARACTERS = 1_000  # of a finding: it may quote a message of any size
MAX_PLACES = 5  # of foreign messages of one topic that are listed


class AuditError(YasdgError):
    """The shop cannot be audited."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """An error in the log: `offset` is that of the message, or of the message at which the error was noticed."""

    kind: str
    topic: str
    partition: int
    offset: int
    text: str

    def __str__(self) -> str:
        return f"{self.topic}, partition {self.partition}, offset {self.offset}: {self.kind}: {self.text}"


@dataclass(slots=True)
class ForeignMessages:
    """The messages on one topic from producers other than the shop.

    Attributes
    ----------
    count
        How many were read.
    put_aside
        How many of them are among the dead letters.
    places
        Partition and offset of the first of them, at most MAX_PLACES.
    """

    count: int = 0
    put_aside: int = 0
    places: list[tuple[int, int]] = field(default_factory=list)

    def note(self, partition: int, messages: Iterable[Message]) -> None:
        """Count messages of a partition."""
        for message in messages:
            self.count += 1
            if len(self.places) < MAX_PLACES:
                self.places.append((partition, message.offset))

    @property
    def places_text(self) -> str:
        """Places of the first of them, as a text."""
        text = "; ".join(f"partition {partition}, offset {offset}" for partition, offset in self.places)
        return text + (" …" if self.count > len(self.places) else "")


@dataclass(slots=True)
class AuditReport(Report[AuditFinding]):
    """The result of an audit."""

    purchases: int = 0
    stockings: int = 0
    lost_sales: int = 0  # customers turned away, whether they bought a substitute or not
    lost_units: int = 0  # of lost sales without a substitute
    lost_cents: int = 0
    substituted_units: int = 0
    incidents: int = 0  # announcements
    dead_letters: int = 0
    products: int = 0
    table_rows: int = 0  # compared with the log
    first: datetime | None = None  # event times of the first and the last sale
    last: datetime | None = None
    foreign: dict[str, ForeignMessages] = field(default_factory=dict)  # by topic
    by_content: bool = False  # no batch has the shop's producer id: each message in the shop's form counts

    @property
    def balanced(self) -> bool:
        """True if there are no findings."""
        return not self.kinds

    def add(self, finding: AuditFinding) -> None:
        """Count a finding, and keep it if there is room."""
        Report.add(self, replace(finding, text=printable(finding.text)))

    def foreign_in(self, topic: str) -> ForeignMessages:
        """Return the foreign messages of a topic."""
        return self.foreign.setdefault(topic, ForeignMessages())

    def as_json(self) -> dict[str, Any]:
        """Return the report in its machine-readable form."""
        counted = (
            "purchases", "stockings", "lost_sales", "lost_units", "substituted_units", "incidents", "dead_letters",
            "products", "table_rows",
        )  # fmt: skip
        return {
            "balanced": self.balanced,
            **{name: getattr(self, name) for name in counted},
            "lost_value": self.lost_cents / 100,
            "by_content": self.by_content,
            "foreign": {topic: foreign.count for topic, foreign in self.foreign.items() if foreign.count},
            "first": self.first and str(self.first),
            "last": self.last and str(self.last),
            "kinds": dict(self.kinds),
            "findings": [asdict(finding) for finding in self.findings],
        }


def printable(text: str) -> str:
    """Return a text as one line of bounded length: quoted messages may hold line breaks and terminal escape codes."""
    text = text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]} …"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
