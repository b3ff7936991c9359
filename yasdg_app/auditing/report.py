"""What an audit comes to: findings, each with its place, and how much was looked at."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

MOST_FINDINGS = 1_000  # told one by one; of more, only the number of each kind


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is off, and where: `offset` is that of the message, or of the one where it was noticed."""

    kind: str
    topic: str
    partition: int
    offset: int
    text: str

    def __str__(self) -> str:
        return f"{self.topic}, partition {self.partition}, offset {self.offset}: {self.kind}: {self.text}"


@dataclass(slots=True)
class Report:
    """What an audit comes to."""

    purchases: int = 0
    stockings: int = 0
    lost_sales: int = 0  # customers turned away, whether they took another product or not
    lost_units: int = 0  # that nothing was sold instead of
    lost_cents: int = 0
    substituted_units: int = 0
    incidents: int = 0  # announcements
    dead_letters: int = 0
    products: int = 0
    table_rows: int = 0  # compared with the log
    first: datetime | None = None  # event time of the first and the last sale
    last: datetime | None = None
    kinds: Counter[str] = field(default_factory=Counter)  # number of findings of each kind
    findings: list[Finding] = field(default_factory=list)  # the first of them

    @property
    def balanced(self) -> bool:
        """True if nothing was found."""
        return not self.kinds

    def add(self, finding: Finding) -> None:
        """Take note of a finding, in bounded memory."""
        self.kinds[finding.kind] += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)

    def as_json(self) -> dict[str, Any]:
        """Return the report as it is printed for machines."""
        counted = (
            "purchases", "stockings", "lost_sales", "lost_units", "substituted_units", "incidents", "dead_letters",
            "products", "table_rows",
        )  # fmt: skip
        return {
            "balanced": self.balanced,
            **{name: getattr(self, name) for name in counted},
            "lost_value": self.lost_cents / 100,
            "first": self.first and str(self.first),
            "last": self.last and str(self.last),
            "kinds": dict(self.kinds),
            "findings": [asdict(finding) for finding in self.findings],
        }
