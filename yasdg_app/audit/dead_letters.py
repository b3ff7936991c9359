"""Whether what is no message of the shop is among the dead letters, each once, and nothing else is."""

from collections import deque
from collections.abc import Iterable

from yasdg_app.audit.account import Find
from yasdg_app.audit.report import ForeignMessages

FOREIGN = "written by another producer"


class DeadLetterAudit:
    """The dead letters of one topic, beside the messages that they ought to be copies of: both in order of offset.

    Parameters
    ----------
    foreign
        Counts the foreign messages of the topic that are among the dead letters.
    first
        Offset before which messages of the topic were deleted: their dead letters have nothing to be compared with.
    are_whole
        False: dead letters were deleted, so nothing is known of messages before those of the first one that is left.
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
        self._letters: deque[tuple[int, int]] = deque()  # offsets of a message, and of its dead letter
        self._unburied: deque[tuple[int, str]] = deque()  # offsets of what is no message of the shop, and why
        self._foreign: deque[int] = deque()  # offsets of foreign messages up to which the others were not read yet
        self._through = -1  # offset up to which the messages were read

    @property
    def owes(self) -> bool:
        """True while a dead letter is due that was not read yet."""
        return bool(self._unburied)

    def foreign(self, offsets: Iterable[int]) -> None:
        """Take note of foreign messages, before the others of a stretch: they have to be among the dead letters."""
        self._foreign.extend(offsets)

    def no_message(self, offset: int, why: str) -> None:
        """Take note of a message that has to be among the dead letters."""
        self._merge_foreign(offset)
        self._unburied.append((offset, why))

    def read_through(self, offset: int) -> None:
        """Take note that the messages were read up to an offset."""
        self._merge_foreign(offset + 1)
        self._through = offset
        self._match()

    def letter(self, of: int, offset: int) -> None:
        """Take a dead letter: that of the message at `of`."""
        if of >= self._first:
            self._letters.append((of, offset))
            self._match()

    def late(self, of: int) -> None:
        """Take a dead letter that was told since the audit began: it may be of a message since then."""
        if self._unburied and self._unburied[0][0] == of:
            self._take_first()

    def close(self) -> None:
        """Tell what is still open."""
        for of, offset in self._letters:
            self._no_cause(of, offset)
        for offset, why in self._unburied:
            self._not_put_aside(offset, why)

    def _merge_foreign(self, end: int) -> None:
        """Have foreign messages before an offset take their place among the others."""
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
        """Note that the first message that was due is among the dead letters."""
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
