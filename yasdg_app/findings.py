"""What a check finds: findings, counted by kind, of which the first are kept. Shared by audit and verify."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, TypeVar


class Finding(Protocol):
    """Something that a check found."""

    @property
    def kind(self) -> str:
        """A short name of what is wrong; findings are counted by it."""


FindingT = TypeVar("FindingT", bound=Finding)


@dataclass(slots=True)
class Report(Generic[FindingT]):
    """The findings of one check, in bounded memory.

    Attributes
    ----------
    kinds
        Number of findings of each kind.
    findings
        The first MAX_FINDINGS of them.
    """

    MAX_FINDINGS: ClassVar[int] = 1_000

    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[FindingT] = field(default_factory=list)

    def add(self, finding: FindingT) -> None:
        """Count a finding, and keep it while there is room."""
        self.kinds[finding.kind] += 1
        if not self.is_full:
            self.findings.append(finding)

    def add_more(self, kind: str, count: int) -> None:
        """Count findings that are not kept one by one."""
        if count:
            self.kinds[kind] += count

    @property
    def is_full(self) -> bool:
        """Whether further findings are only counted."""
        return len(self.findings) >= self.MAX_FINDINGS

    def kinds_text(self) -> str:
        """Return the number of findings of each kind as text, such as `2 × missing`."""
        return ", ".join(f"{count:,} × {kind}" for kind, count in self.kinds.items())

    def finding_lines(self, most: int, printable: Callable[[str], str] = str) -> Iterator[str]:
        """Yield the first `most` findings as lines for people, and how many more there are.

        `printable`: makes what a finding quotes safe to print.
        """
        yield from (f"    {printable(str(finding))}" for finding in self.findings[:most])
        total = self.kinds.total()
        if total > most:
            yield f"    … the first {most} of {total:,}; --json prints {len(self.findings):,}"
