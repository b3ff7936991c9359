"""Compares the shelves, as the sales leave them, with the restocks in the log.

The fold is that of the inventory. It yields restocks in log order, but the log may lack some, or hold duplicate,
superfluous or wrong ones. So the restocks of a product are compared by number and time, within a window.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from yasdg_app.audit.account import Find, ProductAccount, PublishedRestock, Topics, micros, moment, read_restock
from yasdg_app.audit.report import AuditReport
from yasdg_app.kafka.decoding import UNREADABLE, UnreadableError, decoded, reason_of
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.ids import restock_number
from yasdg_app.shop.shelf import Restock
from yasdg_app.shop.supply import Supply

WINDOW_RESTOCKS = 1_000  # max distance of a restock from its place in the log; max expected restocks per product
MIN_LEVEL = -1_000_000  # units; a lower level is not followed: the number of its orders would be unbounded
MAX_LEVEL = 2**53
RESTOCKS_PER_SALE = 2  # max, on average: each restock delivers at least one unit, a sale takes at most two


class RestockAudit:
    """The audit of the restocks of one partition.

    Parameters
    ----------
    is_cut
        Whether restocks at the start were deleted: a restock before the first one left of its product is not missing.
    """

    def __init__(
        self,
        supply: Supply,
        topics: Topics,
        find: Find,
        report: AuditReport,
        accounts: Mapping[str, ProductAccount],
        is_cut: bool = False,
    ) -> None:
        self._supply = supply
        self._topics = topics
        self._find = find
        self._report = report
        self._accounts = accounts
        self._is_cut = is_cut
        self._ended = False  # whether all restocks that existed when the audit began were read
        self._read = 0
        self._place = 0  # of the last restock caused by a sale, among those that were read

    # --- Reading ahead ---

    def wants(self, sales: int) -> bool:
        """Return whether more restocks must be read before so many sales are examined."""
        return not self._ended and self._read - self._place < RESTOCKS_PER_SALE * sales + WINDOW_RESTOCKS

    def take(self, records: Sequence[Message]) -> None:
        """Process restocks in log order; an empty sequence: the end of the topic."""
        if not records:
            self._ended = True
        for record in records:
            found = self._readable(record)
            if found is not None:
                account, told = found
                if not account.is_followed:
                    self._place = told.place
                    continue
                account.told.append(told)
                account.wake = min(account.wake, account.told[0].at)

    def take_late(self, records: Iterable[Message]) -> None:
        """Process restocks written since the audit began: expected restocks are looked for among them."""
        for record in records:
            found = self._readable(record)
            if found is None:
                continue
            account, told = found
            wanted = next((owed for owed in account.owed if told.number == owed.number + account.shift), None)
            if wanted is not None:
                account.owed.remove(wanted)
                self._compare(account, wanted, told)

    def sweep(self) -> None:
        """Report restocks that no sale caused, although a sale has caused others much later in the log."""
        for account in self._accounts.values():
            while account.told and account.told[0].place < self._place - WINDOW_RESTOCKS:
                self._too_many(account, account.told.popleft())

    def close(self, account: ProductAccount) -> None:
        """Report what is still unmatched for a product."""
        for told in account.told:
            self._too_many(account, told)
        for owed in account.owed:
            self._missing(account, owed)

    def _readable(self, record: Message) -> tuple[ProductAccount, PublishedRestock] | None:
        self._report.stockings += 1
        topic = self._topics.stockings
        try:
            message = decoded(read_restock, record.value)
        except UnreadableError as why:
            self._find("unreadable", topic, record.offset, str(why))
            return None
        account = self._accounts.get(message.product_id)
        number = None if account is None else _number(account, message.stocking_id)
        levels = message.existing_level, message.stock_quantity, message.new_level
        are_levels = min(levels) >= MIN_LEVEL and max(levels) <= MAX_LEVEL
        if account is None or number is None or message.event_time.tzinfo is not None or not are_levels:
            self._find("unreadable", topic, record.offset, f"no restock of a product of this partition: {message}")
            return None
        if record.key != account.key:
            self._find("wrong key", topic, record.offset, f"{message.stocking_id} has the key {record.key!r}")
        if account.first_told is None:
            account.first_told = number
        self._read += 1
        return account, PublishedRestock(message.event_time, number, levels, record.offset, self._read)

    # --- The fold ---

    def receive(self, account: ProductAccount, until: int) -> None:
        """Receive what is due by an event time, when a customer is turned away: the log shows it at the next sale."""
        try:
            if not account.certain:
                self._learn(account, until)
            if account.certain and account.shelf.due <= until:
                account.came += account.shelf.receive(until, self._supply)
        except UNREADABLE as error:
            self._lose(account, error)

    def sell(self, account: ProductAccount, quantity: int) -> None:
        """Apply the last sale of a product to its shelf, and check that the log contains the restocks it caused."""
        try:
            self._sell(account, quantity)
        except UNREADABLE as error:
            self._lose(account, error)

    def _lose(self, account: ProductAccount, error: Exception) -> None:
        """Stop following the level: the times or numbers in the log are beyond any calendar or supplier."""
        account.certain, account.came = False, []
        text = f"the shelf of {account.product.product_id} cannot be followed: {reason_of(error)}"
        self._find("wrong level", self._topics.purchases, account.offset, text)

    def _sell(self, account: ProductAccount, quantity: int) -> None:
        of, at = account.shelf, micros(account.at)
        if not account.certain:
            self._learn(account, at)
        if not account.certain:
            of.level -= quantity
            account.blind = False
            self._learn(account, at, by_the_sale=True)
            return
        came = [*account.came, *of.receive(at, self._supply)]
        account.came = []
        if of.level < quantity:
            text = f"{account.product.product_id}: {of.level - quantity}"
            self._find("below zero", self._topics.purchases, account.offset, text)
            if of.level - quantity < MIN_LEVEL:
                of.level, account.certain = 0, False
                return
        came += of.sell(quantity, at, self._supply)
        for stocking in came:
            if not self._is_next(account, stocking):
                self._expect(account, stocking, [other.number for other in came])
        if account.told:
            self._superfluous(account)

    def _learn(self, account: ProductAccount, at: int, *, by_the_sale: bool = False) -> None:
        """Derive an unknown level from the restocks in the log, the only source left.

        `by_the_sale`: use what the sale at that time caused immediately; else what came before it.
        """
        told, of = account.told, account.shelf
        if account.came:  # unknown whether they arrived
            brought = sum(stocking.stock_quantity for stocking in account.came)
            of.restocks -= len(account.came)
            of.level, of.restocked, of.on_order = of.level - brought, of.restocked - brought, brought
            account.came = []
        while told and (micros(told[0].at) < at or (by_the_sale and micros(told[0].at) == at)):
            here = told.popleft()
            if here.number <= of.restocks + account.shift:
                self._too_many(account, here)
                continue
            self._place = here.place
            _, added, after = here.levels
            time = micros(here.at)
            of.on_order = max((of.on_order or self._supply.restock_amount) - added, 0)
            of.restocks, of.level, of.ordered_at = here.number - account.shift, after, time
            of.restocked += added
            account.certain = not account.blind
            again = not of.on_order and not by_the_sale and after <= self._supply.min_inventory
            if again:  # as in Shelf.receive
                of.on_order = self._supply.restock_amount
            of.update_eta(self._supply)
            if again and of.due == time:
                of.on_order = 0
                of.update_eta(self._supply)

    def _is_next(self, account: ProductAccount, stocking: Restock) -> bool:
        """Return whether a restock is the next one that was read, as in nearly all cases; if so, consume it."""
        if not account.told or account.shift:
            return False
        number, levels, at = account.told[0].number, account.told[0].levels, account.told[0].at
        if number != stocking.number or levels != (
            stocking.existing_level,
            stocking.stock_quantity,
            stocking.new_level,
        ):
            return False
        if micros(at) != stocking.at:
            return False
        self._place = account.told.popleft().place
        return True

    def _expect(self, account: ProductAccount, stocking: Restock, numbers: Sequence[int]) -> None:
        """Match one of the restocks, with these numbers, that the log should contain with a product's last sale."""
        levels = stocking.existing_level, stocking.stock_quantity, stocking.new_level
        wanted = PublishedRestock(moment(stocking.at), stocking.number, levels, account.offset)
        row = _row(account, wanted, numbers)
        if row is None:
            self._owe(account, wanted)
            return
        told = account.told[row]
        if row and account.told[0].at > wanted.at and account.told[0].number > wanted.number + account.shift:
            text = f"{_id(account, told)} stands behind {_id(account, account.told[0])}"
            self._find("out of order", self._topics.stockings, told.offset, text)
        del account.told[row]
        self._place = told.place
        self._compare(account, wanted, told)

    def _owe(self, account: ProductAccount, wanted: PublishedRestock) -> None:
        if self._is_cut and (account.first_told is None or account.first_told > wanted.number):
            return  # it was deleted
        if not self._ended:
            self._missing(account, wanted)
            self._place += 1  # otherwise reading would stop before many restocks that no sale caused
            return
        account.owed.append(wanted)  # the workers may not have written it yet
        if len(account.owed) > WINDOW_RESTOCKS:
            self._missing(account, account.owed.popleft())

    def _compare(self, account: ProductAccount, wanted: PublishedRestock, told: PublishedRestock) -> None:
        topic, shift = self._topics.stockings, account.shift
        if told.number not in (wanted.number, wanted.number + shift):
            text = f"{_id(account, told)} where number {wanted.number} is due"
            self._find("restock number", topic, told.offset, text)
        account.shift = told.number - wanted.number
        if told.at != wanted.at:
            text = f"{_id(account, told)} is of {told.at}, but it came {wanted.at}"
            self._find("wrong time", topic, told.offset, text)
        elif told.levels != wanted.levels:
            text = f"{_id(account, told)} says {_sum(told)}, the sales say {_sum(wanted)}"
            self._find("wrong level", topic, told.offset, text)
            account.certain = False

    def _superfluous(self, account: ProductAccount) -> None:
        """Report restocks up to the last sale that were not due by then."""
        told = account.told
        while told and told[0].at <= account.at and not self._early(account, told[0]):
            self._place = told[0].place
            self._too_many(account, told.popleft())

    def _early(self, account: ProductAccount, told: PublishedRestock) -> bool:
        """Return whether a restock is a future one with an earlier time: it is examined when it is due."""
        to_come = told.number > account.shelf.restocks + account.shift
        return to_come and all(other.number != told.number for other in account.told if other is not told)

    # --- Findings ---

    def _missing(self, account: ProductAccount, wanted: PublishedRestock) -> None:
        text = (
            f"{_id(account, wanted)} ({wanted.at}: {_sum(wanted)}) should stand in {self._topics.stockings} with this "
            "sale, and does not"
        )
        if self._ended:
            text += " (yet, if no worker has run since: start one, and audit again)"
        self._find("missing restock", self._topics.purchases, wanted.offset, text)

    def _too_many(self, account: ProductAccount, told: PublishedRestock) -> None:
        twice = told.number <= account.shelf.restocks + account.shift
        text = f"{_id(account, told)} was told before" if twice else f"no sale caused {_id(account, told)} at {told.at}"
        self._find("double restock" if twice else "restock too many", self._topics.stockings, told.offset, text)


def _row(account: ProductAccount, wanted: PublishedRestock, numbers: Sequence[int]) -> int | None:
    """Return the index of the most likely match among the restocks that were read; None: there is none.

    `numbers`: those of the other expected restocks of the same sale, which must not be matched instead.
    """
    told, shift = account.told, account.shift
    shifted, number = wanted.number + shift, wanted.number
    if told and told[0].number == shifted and told[0].at == wanted.at:
        return 0
    likenesses: tuple[Callable[[PublishedRestock], bool], ...] = (
        lambda other: other.number == shifted and other.at == wanted.at,
        lambda other: other.number == number and other.at == wanted.at,
        lambda other: other.at == wanted.at and other.number not in numbers and other.number - shift not in numbers,
        lambda other: other.number in (shifted, number),
    )
    rows = (next((row for row, other in enumerate(told) if like(other)), None) for like in likenesses)
    return next((row for row in rows if row is not None), None)


def _number(account: ProductAccount, stocking_id: str) -> int | None:
    """Return the number in a restock id of a product; None if it is not such an id."""
    product_id, following = account.product.product_id, account.told_number + 1
    number: int | None = following
    if stocking_id != f"{product_id}-R{following:06d}":  # the general way is slower
        number = restock_number(product_id, stocking_id)
    account.told_number = number or 0
    return number


def _id(account: ProductAccount, told: PublishedRestock) -> str:
    return f"{account.product.product_id}-R{told.number:06d}"


def _sum(told: PublishedRestock) -> str:
    before, added, after = told.levels
    return f"{before} + {added} = {after}"
