"""The report of a comparison with the truth: what an engine's output has wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from yasdg_app.findings import Report

KINDS = {
    "missing": "the engine does not have it",
    "double": "it has it twice",
    "late": "it came late on the dirty topic",
    "wrong": "it has another value",
    "unknown": "it was never sold",
    "unreadable": "it cannot be read",
}
"""Kinds of differences, and what is meant."""


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
        By column: what the engine has, and what is true.
    ids
        Of what happened, as far as it is certain: what makes the difference.
    why
        What is known of the reason, in words.
    """

    kind: str
    place: Mapping[str, str]
    values: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    ids: Sequence[str] = ()
    why: str = ""

    def __str__(self) -> str:
        values = "; ".join(f"{name} is {got}, not {wanted}" for name, (got, wanted) in self.values.items())
        ids = ", ".join(self.ids) if "transaction_id" not in self.place else ""
        told = ": ".join(part for part in (ids, values) if part)
        return f"{self.kind}: {' '.join(self.place.values())}{f' ({self.why})' if self.why else ''}" + (
            f": {told}" if told else ""
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as it is printed for machines."""
        values = {name: {"got": got, "wanted": wanted} for name, (got, wanted) in self.values.items()}
        return {"kind": self.kind, **self.place, "ids": list(self.ids), "values": values, "why": self.why or None}


@dataclass(slots=True)
class ComparisonReport(Report[EngineFinding]):
    """The result of a comparison."""

    MAX_FINDINGS: ClassVar[int] = 10_000

    what: str = ""  # sales or windows
    begin: str = ""  # event times that were looked at
    end: str = ""
    rows: int = 0  # of the engine's, that were compared
    wanted: int = 0  # that there ought to be
    outside: int = 0  # of the engine's, of other event times: not looked at
    keys: Sequence[str] = ()  # columns by which the engine's rows are known
    columns: Sequence[str] = ()  # others that were compared
    uncompared: Sequence[str] = ()  # of the engine's columns, those that were not
    remark: str = ""  # on what is not told, in words

    @property
    def compared(self) -> frozenset[str]:
        """The names of all columns that were looked at."""
        return frozenset((*self.keys, *self.columns))

    @property
    def equal(self) -> bool:
        """True if nothing differs."""
        return not self.kinds

    def as_json(self) -> dict[str, Any]:
        """Return the report as it is printed for machines."""
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
