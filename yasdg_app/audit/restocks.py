"""Compares the shelves, as the sales leave them, with the restocks in the log.

The fold is that of the inventory. It yields restocks in log order, but the log may lack some, or hold duplicate,
superfluous or wrong ones. So the restocks of a product are compared by number and time, within a window.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from yasdg_app.audit.account import Find, ProductAccount, PublishedRestock, Topics
from yasdg_app.audit.audited_messages import read_restock
from yasdg_app.audit.event_times import micros, moment
from yasdg_app.audit.report import AuditReport
from yasdg_app.kafka.decoding import UNREADABLE, UnreadableError, decoded, reason_of
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.ids import restock_number
from yasdg_app.shop.shelf import Restock
from yasdg_app.shop.supply import Supply

WINDOW_RESTOCKS = 1_000  # max distance of a restock from where it belongs in the log; max expected restocks per product
MIN_LEVEL = -1_000_000  # units; a lower level is not followed: the number of its orders would be unbounded
MAX_LEVEL = 2**53


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
        self._matched_index = 0  # of the last restock caused by a sale, among those that were read

    # --- Reading ahead ---

    def wants(self, sales: int) -> bool:
        """Return whether more restocks must be read before so many sales are examined."""
        # On average, as each restock delivers at least one unit.
        max_restocks = sales * self._supply.largest_quantity
        return not self._ended and self._read - self._matched_index < max_restocks + WINDOW_RESTOCKS

    def take(self, records: Sequence[Message]) -> None:
        """Process restocks in log order; an empty sequence: the end of the topic."""
        if not records:
            self._ended = True
        for record in records:
            found = self._readable(record)
            if found is not None:
                account, restock = found
                if not account.level.can_be_known:
                    self._matched_index = restock.read_index
                    continue
                account.restocks.unmatched.append(restock)
                account.level.next_check_at = min(account.level.next_check_at, account.restocks.unmatched[0].at)

    def take_late(self, records: Iterable[Message]) -> None:
        """Process restocks written since the audit began: expected restocks are looked for among them."""
        for record in records:
            found = self._readable(record)
            if found is None:
                continue
            account, restock = found
            restocks = account.restocks
            number = restock.number - restocks.number_offset
            expected = next((each for each in restocks.expected if each.number == number), None)
            if expected is not None:
                restocks.expected.remove(expected)
                self._compare(account, expected, restock)

    def sweep(self) -> None:
        """Report restocks that no sale caused, although a sale has caused others much later in the log."""
        for account in self._accounts.values():
            unmatched = account.restocks.unmatched
            while unmatched and unmatched[0].read_index < self._matched_index - WINDOW_RESTOCKS:
                self._report_unexpected(account, unmatched.popleft())

    def close(self, account: ProductAccount) -> None:
        """Report what is still unmatched for a product."""
        for restock in account.restocks.unmatched:
            self._report_unexpected(account, restock)
        for expected in account.restocks.expected:
            self._report_missing(account, expected)

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
            text = f"expected a restock of a product of this partition: {message}"
            self._find("unreadable", topic, record.offset, text)
            return None
        if record.key != account.key:
            text = f"{message.stocking_id} has the key {record.key!r}, expected {account.key!r}"
            self._find("wrong key", topic, record.offset, text)
        if account.restocks.first_number is None:
            account.restocks.first_number = number
        self._read += 1
        return account, PublishedRestock(message.event_time, number, levels, record.offset, self._read)

    # --- The fold ---

    def receive(self, account: ProductAccount, until: int) -> None:
        """Receive what is due by an event time, when a customer is turned away: the log shows it at the next sale."""
        try:
            if not account.level.is_known:
                self._derive_level(account, until)
            if account.level.is_known and account.shelf.due <= until:
                account.restocks.unpublished += account.shelf.receive(until, self._supply)
        except UNREADABLE as error:
            self._give_up_level(account, error)

    def sell(self, account: ProductAccount, quantity: int) -> None:
        """Apply the last sale of a product to its shelf, and check that the log contains the restocks it caused."""
        try:
            self._sell(account, quantity)
        except UNREADABLE as error:
            self._give_up_level(account, error)

    def _give_up_level(self, account: ProductAccount, error: Exception) -> None:
        """Treat the level as unknown: the times or numbers in the log are beyond any calendar or supplier."""
        account.level.is_known, account.restocks.unpublished = False, []
        text = f"the level of {account.product.product_id} cannot be computed: {reason_of(error)}"
        self._find("wrong level", self._topics.purchases, account.sales.offset, text)

    def _sell(self, account: ProductAccount, quantity: int) -> None:
        shelf, level, restocks, at = account.shelf, account.level, account.restocks, micros(account.sales.at)
        if not level.is_known:
            self._derive_level(account, at)
        if not level.is_known:
            shelf.level -= quantity
            level.follows_unknown_sale = False
            self._derive_level(account, at, by_the_sale=True)
            return
        received = [*restocks.unpublished, *shelf.receive(at, self._supply)]
        restocks.unpublished = []
        if shelf.level < quantity:
            text = f"{account.product.product_id} is at {shelf.level - quantity} after this sale, expected 0 or more"
            self._find("below zero", self._topics.purchases, account.sales.offset, text)
            if shelf.level - quantity < MIN_LEVEL:
                shelf.level, level.is_known = 0, False
                return
        received += shelf.sell(quantity, at, self._supply)
        for restock in received:
            if not self._take_if_next(account, restock):
                self._expect(account, restock, [other.number for other in received])
        if restocks.unmatched:
            self._report_premature(account)

    def _derive_level(self, account: ProductAccount, at: int, *, by_the_sale: bool = False) -> None:
        """Derive an unknown level from the restocks in the log, the only source left.

        `by_the_sale`: use what the sale at that time caused immediately; else what came before it.
        """
        restocks, shelf = account.restocks, account.shelf
        unmatched = restocks.unmatched
        if restocks.unpublished:  # unknown whether they arrived
            delivered = sum(restock.stock_quantity for restock in restocks.unpublished)
            shelf.restocks -= len(restocks.unpublished)
            shelf.level, shelf.restocked = shelf.level - delivered, shelf.restocked - delivered
            shelf.on_order = delivered
            restocks.unpublished = []
        while unmatched and (micros(unmatched[0].at) < at or (by_the_sale and micros(unmatched[0].at) == at)):
            restock = unmatched.popleft()
            if restock.number <= shelf.restocks + restocks.number_offset:
                self._report_unexpected(account, restock)
                continue
            self._matched_index = restock.read_index
            _, added, after = restock.levels
            time = micros(restock.at)
            shelf.on_order = max((shelf.on_order or self._supply.restock_amount) - added, 0)
            shelf.restocks, shelf.level = restock.number - restocks.number_offset, after
            shelf.ordered_at = time
            shelf.restocked += added
            account.level.is_known = not account.level.follows_unknown_sale
            orders_again = not shelf.on_order and not by_the_sale and self._supply.orders_again(after, took_time=True)
            if orders_again:  # as in Shelf.receive
                shelf.on_order = self._supply.restock_amount
            shelf.update_eta(self._supply)
            if orders_again and shelf.due == time and not self._supply.orders_again(after, took_time=False):
                shelf.on_order = 0
                shelf.update_eta(self._supply)

    def _take_if_next(self, account: ProductAccount, restock: Restock) -> bool:
        """Match a restock with the next one that was read; return whether it matches, as in nearly all cases."""
        unmatched = account.restocks.unmatched
        if not unmatched or account.restocks.number_offset:
            return False
        number, levels, at = unmatched[0].number, unmatched[0].levels, unmatched[0].at
        if number != restock.number or levels != _levels(restock) or micros(at) != restock.at:
            return False
        self._matched_index = unmatched.popleft().read_index
        return True

    def _expect(self, account: ProductAccount, restock: Restock, numbers: Sequence[int]) -> None:
        """Match one of the restocks, with these numbers, that the log should contain with a product's last sale."""
        expected = PublishedRestock(moment(restock.at), restock.number, _levels(restock), account.sales.offset)
        unmatched = account.restocks.unmatched
        index = _likeliest_match(account, expected, numbers)
        if index is None:
            self._expect_later(account, expected)
            return
        found, first = unmatched[index], unmatched[0]
        if index and first.at > expected.at and first.number > expected.number + account.restocks.number_offset:
            text = f"{_id(account, found)} comes after {_id(account, first)}"
            self._find("out of order", self._topics.stockings, found.offset, text)
        del unmatched[index]
        self._matched_index = found.read_index
        self._compare(account, expected, found)

    def _expect_later(self, account: ProductAccount, expected: PublishedRestock) -> None:
        restocks = account.restocks
        if self._is_cut and (restocks.first_number is None or restocks.first_number > expected.number):
            return  # it was deleted
        if not self._ended:
            self._report_missing(account, expected)
            self._matched_index += 1  # otherwise reading would stop before many restocks that no sale caused
            return
        restocks.expected.append(expected)  # the workers may not have written it yet
        if len(restocks.expected) > WINDOW_RESTOCKS:
            self._report_missing(account, restocks.expected.popleft())

    def _compare(self, account: ProductAccount, expected: PublishedRestock, found: PublishedRestock) -> None:
        topic, restocks = self._topics.stockings, account.restocks
        if found.number not in (expected.number, expected.number + restocks.number_offset):
            text = f"found {_id(account, found)}, expected {_id(account, expected)}"
            self._find("restock number", topic, found.offset, text)
        restocks.number_offset = found.number - expected.number
        if found.at != expected.at:
            text = f"{_id(account, found)} has the time {found.at}, expected {expected.at}"
            self._find("wrong time", topic, found.offset, text)
        elif found.levels != expected.levels:
            text = f"{_id(account, found)} has the levels {_sum(found)}, expected {_sum(expected)} by the sales"
            self._find("wrong level", topic, found.offset, text)
            account.level.is_known = False

    def _report_premature(self, account: ProductAccount) -> None:
        """Report restocks up to the last sale that were not due by then."""
        unmatched = account.restocks.unmatched
        while unmatched and unmatched[0].at <= account.sales.at and not self._is_early(account, unmatched[0]):
            self._matched_index = unmatched[0].read_index
            self._report_unexpected(account, unmatched.popleft())

    def _is_early(self, account: ProductAccount, restock: PublishedRestock) -> bool:
        """Return whether a restock is a future one with an earlier time: it is examined when it is due."""
        is_future = restock.number > account.shelf.restocks + account.restocks.number_offset
        others = (each for each in account.restocks.unmatched if each is not restock)
        return is_future and all(other.number != restock.number for other in others)

    # --- Findings ---

    def _report_missing(self, account: ProductAccount, expected: PublishedRestock) -> None:
        text = (
            f"expected {_id(account, expected)} ({expected.at}: {_sum(expected)}) on {self._topics.stockings} "
            "along with this sale"
        )
        if self._ended:
            text += "; a worker may still have to write it: start one, and audit again"
        self._find("missing restock", self._topics.purchases, expected.offset, text)

    def _report_unexpected(self, account: ProductAccount, restock: PublishedRestock) -> None:
        is_duplicate = restock.number <= account.shelf.restocks + account.restocks.number_offset
        this = _id(account, restock)
        text = f"{this} is a duplicate" if is_duplicate else f"no sale caused {this} at {restock.at}"
        kind = "double restock" if is_duplicate else "restock too many"
        self._find(kind, self._topics.stockings, restock.offset, text)


def _likeliest_match(account: ProductAccount, expected: PublishedRestock, numbers: Sequence[int]) -> int | None:
    """Return the index of the most likely match among the restocks that were read; None: there is none.

    `numbers`: those of the other expected restocks of the same sale, which must not be matched instead.
    """
    unmatched, number_offset = account.restocks.unmatched, account.restocks.number_offset
    number, at = expected.number, expected.at
    shifted = number + number_offset
    if unmatched and unmatched[0].number == shifted and unmatched[0].at == at:
        return 0
    rules: tuple[Callable[[PublishedRestock], bool], ...] = (
        lambda other: other.number == shifted and other.at == at,
        lambda other: other.number == number and other.at == at,
        lambda other: other.at == at and other.number not in numbers and other.number - number_offset not in numbers,
        lambda other: other.number in (shifted, number),
    )
    matches = (next((index for index, other in enumerate(unmatched) if matches(other)), None) for matches in rules)
    return next((index for index in matches if index is not None), None)


def _levels(restock: Restock) -> tuple[int, int, int]:
    return restock.existing_level, restock.stock_quantity, restock.new_level


def _number(account: ProductAccount, stocking_id: str) -> int | None:
    """Return the number in a restock id of a product; None if it is not such an id."""
    product_id, following = account.product.product_id, account.restocks.last_number + 1
    number: int | None = following
    if stocking_id != f"{product_id}-R{following:06d}":  # the general way is slower
        number = restock_number(product_id, stocking_id)
    account.restocks.last_number = number or 0
    return number


def _id(account: ProductAccount, restock: PublishedRestock) -> str:
    return f"{account.product.product_id}-R{restock.number:06d}"


def _sum(restock: PublishedRestock) -> str:
    before, added, after = restock.levels
    return f"{before} + {added} = {after}"
