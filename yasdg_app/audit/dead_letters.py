"""Checks that the dead letters contain each message that is not one of the shop's, once, and nothing else."""

from collections import deque
from collections.abc import Iterable

from yasdg_app.audit.account import Find
from yasdg_app.audit.report import ForeignMessages

FOREIGN = "written by another producer"


class DeadLetterAudit:
    """Compares the dead letters of one topic with the messages that they should copy, both in order of offset.

    Parameters
    ----------
    foreign
        Counts the foreign messages of the topic that are among the dead letters.
    first
        Offset before which messages of the topic were deleted: dead letters of those cannot be compared.
    are_whole
        False: dead letters were deleted, so messages before that of the first remaining dead letter are not checked.
    """

    def __init__(
        self,
        topic: str,
        letters_topic: str,
        find: Find,
        foreign: ForeignMessages,
        first: int = 0,
        are_whole: bool = True,
    ) -> None:
        self._topic = topic
        self._letters_topic = letters_topic
        self._find = find
        self._counted = foreign
        self._first = first
        self._are_whole = are_whole
        self._letters: deque[tuple[int, int]] = deque()  # offset of a message, and offset of its dead letter
        self._expected: deque[tuple[int, str]] = deque()  # offset of a message that needs a dead letter, and the reason
        self._foreign: deque[int] = deque()  # offsets of foreign messages, not yet merged into `_expected`
        self._through = -1  # offset up to which messages were read

    @property
    def expects_more(self) -> bool:
        """True while an expected dead letter has not been read."""
        return bool(self._expected)

    def foreign(self, offsets: Iterable[int]) -> None:
        """Record foreign messages, before the other messages of the same range: each needs a dead letter."""
        self._foreign.extend(offsets)

    def no_message(self, offset: int, why: str) -> None:
        """Record a message that needs a dead letter."""
        self._merge_foreign(offset)
        self._expected.append((offset, why))

    def read_through(self, offset: int) -> None:
        """Record that messages were read up to an offset."""
        self._merge_foreign(offset + 1)
        self._through = offset
        self._match()

    def letter(self, of: int, offset: int) -> None:
        """Process a dead letter: the copy of the message at offset `of`."""
        if of >= self._first:
            self._letters.append((of, offset))
            self._match()

    def late(self, of: int) -> None:
        """Process a dead letter written since the audit began: its message may be newer than the audit."""
        if self._expected and self._expected[0][0] == of:
            self._take_first()

    def close(self) -> None:
        """Report what is still missing."""
        for of, offset in self._letters:
            self._report_unexpected(of, offset)
        for offset, why in self._expected:
            self._report_missing(offset, why)

    def _merge_foreign(self, end: int) -> None:
        """Merge the foreign messages before an offset into the other messages, in order of offset."""
        while self._foreign and self._foreign[0] < end:
            self._expected.append((self._foreign.popleft(), FOREIGN))

    def _match(self) -> None:
        letters, expected = self._letters, self._expected
        while letters and (expected or letters[0][0] <= self._through):
            if not expected or letters[0][0] < expected[0][0]:
                self._report_unexpected(*letters.popleft())
            elif letters[0][0] == expected[0][0]:
                letters.popleft()
                self._take_first()
            else:
                self._report_missing(*expected.popleft())

    def _take_first(self) -> None:
        """Mark the first expected message as found among the dead letters."""
        self._are_whole = True
        if self._expected.popleft()[1] is FOREIGN:
            self._counted.put_aside += 1

    def _report_unexpected(self, of: int, offset: int) -> None:
        self._are_whole = True
        text = (
            f"expected no dead letter for offset {of} of {self._topic}: the message is valid or not in the log, or has "
            "another dead letter"
        )
        self._find("no cause", self._letters_topic, offset, text)

    def _report_missing(self, offset: int, why: str) -> None:
        if self._are_whole:
            self._find("not put aside", self._topic, offset, f"expected it on {self._letters_topic}: {why}")
