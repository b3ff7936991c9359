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
        self._unburied: deque[tuple[int, str]] = deque()  # offset of a message that needs a dead letter, and the reason
        self._foreign: deque[int] = deque()  # foreign messages whose place among the others is not reached yet
        self._through = -1  # offset up to which messages were read

    @property
    def owes(self) -> bool:
        """True while an expected dead letter has not been read."""
        return bool(self._unburied)

    def foreign(self, offsets: Iterable[int]) -> None:
        """Record foreign messages, before the other messages of the same range: each needs a dead letter."""
        self._foreign.extend(offsets)

    def no_message(self, offset: int, why: str) -> None:
        """Record a message that needs a dead letter."""
        self._merge_foreign(offset)
        self._unburied.append((offset, why))

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
        if self._unburied and self._unburied[0][0] == of:
            self._take_first()

    def close(self) -> None:
        """Report what is still missing."""
        for of, offset in self._letters:
            self._no_cause(of, offset)
        for offset, why in self._unburied:
            self._not_put_aside(offset, why)

    def _merge_foreign(self, end: int) -> None:
        """Merge the foreign messages before an offset into the other messages, in order of offset."""
        while self._foreign and self._foreign[0] < end:
            self._unburied.append((self._foreign.popleft(), FOREIGN))

    def _match(self) -> None:
        letters, unburied = self._letters, self._unburied
        while letters and (unburied or letters[0][0] <= self._through):
            if not unburied or letters[0][0] < unburied[0][0]:
                self._no_cause(*letters.popleft())
            elif letters[0][0] == unburied[0][0]:
                letters.popleft()
                self._take_first()
            else:
                self._not_put_aside(*unburied.popleft())

    def _take_first(self) -> None:
        """Mark the first expected message as found among the dead letters."""
        self._are_whole = True
        if self._unburied.popleft()[1] is FOREIGN:
            self._counted.put_aside += 1

    def _no_cause(self, of: int, offset: int) -> None:
        self._are_whole = True
        text = f"the message at offset {of} of {self._topic} is as it should be, was told of before, or is not there"
        self._find("no cause", self._letters_topic, offset, text)

    def _not_put_aside(self, offset: int, why: str) -> None:
        if self._are_whole:
            self._find("not put aside", self._topic, offset, f"{why}, and it is not among the dead letters")
