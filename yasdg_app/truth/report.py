"""The report of a comparison with the truth: the errors in an engine's output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from yasdg_app.findings import Report

KINDS = {
    "missing": "not in the engine's output",
    "double": "more than once in the output",
    "late": "arrived late on the dirty topic",
    "wrong": "another value",
    "unknown": "never sold",
    "unreadable": "not a valid row",
}
"""Kinds of differences, and their meaning."""


@dataclass(frozen=True, slots=True)
class EngineFinding:
    """A difference between an engine's output and the truth.

    Attributes
    ----------
    kind
        One of KINDS.
    place
        What differs: the id of a sale, a window and its key, or a line of the file, by the names of the columns.
    values
        By column: the engine's value, and the expected one.
    ids
        Ids of the events that cause the difference, as far as they are certain.
    why
        What is known of the reason, as a text.
    """

    kind: str
    place: Mapping[str, str]
    values: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    ids: Sequence[str] = ()
    why: str = ""

    def __str__(self) -> str:
        values = "; ".join(f"{name} is {got}, expected {wanted}" for name, (got, wanted) in self.values.items())
        ids = ", ".join(self.ids) if "transaction_id" not in self.place else ""
        details = ": ".join(part for part in (ids, values) if part)
        return f"{self.kind}: {' '.join(self.place.values())}{f' ({self.why})' if self.why else ''}" + (
            f": {details}" if details else ""
        )

    def as_json(self) -> dict[str, Any]:
        """Return it in its machine-readable form."""
        values = {name: {"got": got, "wanted": wanted} for name, (got, wanted) in self.values.items()}
        return {"kind": self.kind, **self.place, "ids": list(self.ids), "values": values, "why": self.why or None}


@dataclass(slots=True)
class ComparisonReport(Report[EngineFinding]):
    """The result of a comparison."""

    MAX_FINDINGS: ClassVar[int] = 10_000

    what: str = ""  # sales or windows
    begin: str = ""  # event times that were compared
    end: str = ""
    rows: int = 0  # of the engine, that were compared
    wanted: int = 0  # that are expected
    outside: int = 0  # of the engine, at other event times: not compared
    keys: Sequence[str] = ()  # columns that identify the engine's rows
    columns: Sequence[str] = ()  # other columns that were compared
    uncompared: Sequence[str] = ()  # columns of the engine that were not compared
    remark: str = ""  # what is not reported and why, as a text

    @property
    def compared(self) -> frozenset[str]:
        """The names of all columns that were compared."""
        return frozenset((*self.keys, *self.columns))

    @property
    def equal(self) -> bool:
        """True if nothing differs."""
        return not self.kinds

    def as_json(self) -> dict[str, Any]:
        """Return the report in its machine-readable form."""
        return {
            "equal": self.equal,
            "what": self.what,
            "from": self.begin,
            "to": self.end,
            "rows": self.rows,
            "wanted": self.wanted,
            "outside": self.outside,
            "columns": list(self.columns),
            "not_compared": list(self.uncompared),
            "kinds": dict(self.kinds),
            "remark": self.remark or None,
            "findings": [finding.as_json() for finding in self.findings],
        }
