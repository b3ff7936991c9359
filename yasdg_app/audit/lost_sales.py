"""Checks the lost sales of a partition: no gap in their numbers, a possible value, and too little stock as reason."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from yasdg_app.audit.account import (
    BEGINNING_OF_TIME,
    END_OF_TIME,
    AuditedLostSale,
    Find,
    PendingLostSale,
    ProductAccount,
    Topics,
    micros,
    moment,
    read_lost,
    text_of,
)
from yasdg_app.audit.dead_letters import DeadLetterAudit
from yasdg_app.audit.plan_intervals import PlanInterval
from yasdg_app.audit.report import AuditReport
from yasdg_app.audit.restocks import RestockAudit
from yasdg_app.audit.substitutions import Substitutions
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.reader import Chunk, Message
from yasdg_app.messages.decoders import InvalidMessageError, read_lost_sale
from yasdg_app.messages.ids import lost_sale_id
from yasdg_app.messages.reference import amount
from yasdg_app.shop import shelf
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.price import line, terms

MAX_VALUES = 1_024  # cached values: of a product, a quantity and a discount


class LostSaleAudit:
    """The audit of the lost sales of one partition.

    Parameters
    ----------
    restocks
        Tracks the shelves.
    is_cut
        Whether lost sales at the start were deleted.
    """

    def __init__(
        self,
        plan: Plan,
        topics: Topics,
        find: Find,
        report: AuditReport,
        accounts: Mapping[str, ProductAccount],
        partition_by_product: Mapping[str, int],
        partition: int,
        restocks: RestockAudit,
        letters: DeadLetterAudit,
        substitutions: Substitutions,
        is_cut: bool = False,
    ) -> None:
        self._plan = plan
        self._topic = topics.lost_sales
        self._find = find
        self._report = report
        self._accounts = accounts
        self._partition_by_product = partition_by_product
        self._partition = partition
        self._restocks = restocks
        self._letters = letters
        self._substitutions = substitutions
        self._is_cut = is_cut
        self._interval = PlanInterval(plan, plan.products)
        self._until = BEGINNING_OF_TIME  # event time up to which they were read
        self._values: dict[tuple[str, int, int], frozenset[float]] = {}

    def wants(self, until: datetime) -> bool:
        """Return whether more lost sales must be read before sales up to an event time are examined."""
        return self._until <= until != BEGINNING_OF_TIME

    def take(self, chunk: Chunk | None) -> None:
        """Process the next chunk of the topic, in log order; None: the end of the topic."""
        if chunk is None:
            self._until = END_OF_TIME
            return
        if chunk.foreign:
            self._letters.foreign(message.offset for message in chunk.foreign)
        for record in chunk.messages:
            lost = self._readable(record)
            if lost is not None:
                self._take(self._accounts[lost.product_id], lost, record)
        self._letters.read_through(chunk.end - 1)

    def _readable(self, record: Message) -> AuditedLostSale | None:
        try:
            turned, number = read_lost_sale(record.value, self._partition, self._partition_by_product.get)
        except InvalidMessageError as why:
            self._letters.no_message(record.offset, str(why))
            return None
        lost = decoded_or_none(read_lost, record.value)
        if lost is not None and (lost.promised is None or lost.promised.tzinfo is None):
            return lost
        self._find("unreadable", self._topic, record.offset, f"{turned.lost_sale_id} lacks fields of a lost sale")
        account = self._accounts[turned.product_id]
        account.lost_number = max(account.lost_number, number)
        account.row = None  # a missing value cannot be compared
        return None

    def _take(self, account: ProductAccount, lost: AuditedLostSale, record: Message) -> None:
        at, offset = lost.event_time, record.offset
        self._until = at  # not the latest: one wrong time says nothing about the ones after it
        if not self._is_next(account, lost, offset):
            return
        if record.key != account.key:
            self._find("wrong key", self._topic, offset, f"{lost.lost_sale_id} has the key {record.key!r}")
        if at < account.lost_at:
            text = f"{lost.lost_sale_id} is of {at}, the one before of {account.lost_at}"
            self._find("time goes back", self._topic, offset, text)
            while account.lost and account.lost[-1].at > at:  # this one or those are wrong: their place is unknown
                account.lost.pop()
        account.lost_at, account.lost_offset = at, offset
        self._count(account, lost, offset)
        self._check(account, lost, offset)
        if account.is_followed:
            account.lost.append(PendingLostSale(at, lost, offset))
            account.wake = min(account.wake, account.lost[0].at)
        if account.row is not None and account.row.lost_sales == account.lost_number:
            self._compare(account)

    def _is_next(self, account: ProductAccount, lost: AuditedLostSale, offset: int) -> bool:
        product_id, last = account.product.product_id, account.lost_number
        number = int(lost.lost_sale_id[len(product_id) + 2 :])
        if number <= last:
            text = f"{lost.lost_sale_id} was told before; the last one is number {last}"
            self._find("double lost sale", self._topic, offset, text)
            return False
        if number > last + 1 and (last or not self._is_cut):
            first, until = lost_sale_id(product_id, last + 1), lost_sale_id(product_id, number - 1)
            text = first if number == last + 2 else f"{first} to {until}"
            self._find("missing lost sale", self._topic, offset, f"{text} should stand before it")
            account.row = None  # a missing value cannot be compared
        account.lost_number = number
        return True

    def _count(self, account: ProductAccount, lost: AuditedLostSale, offset: int) -> None:
        report, cents = self._report, round(lost.value * 100)
        report.lost_sales += 1
        if lost.substitute is None:
            account.lost_units += lost.quantity
            account.lost_cents += cents
            report.lost_units += lost.quantity
            report.lost_cents += cents
            return
        account.substituted += lost.quantity
        report.substituted_units += lost.quantity
        if not self._substitutions.lost(lost, lost.substitute, offset):
            text = f"{lost.lost_sale_id}: nobody takes {lost.substitute} instead"
            self._find("wrong substitute", self._topic, offset, text)

    def _check(self, account: ProductAccount, lost: AuditedLostSale, offset: int) -> None:
        """Check everything that does not depend on the shelf."""
        interval = self._interval
        interval.advance_to(lost.event_time)
        if interval.closed:
            self._find("closed", self._topic, offset, f"{lost.lost_sale_id} at {lost.event_time}: {interval.closed}")
        promotion = interval.promotions.get(lost.product_id, 0)
        values = self._possible(account, lost.quantity, promotion)
        if lost.value not in values:
            wanted = " or ".join(map(str, sorted(values)))
            self._find("wrong value", self._topic, offset, f"{lost.lost_sale_id} is worth {lost.value}, not {wanted}")
        reason = "held_up" if lost.incident is not None else "too_few" if lost.level else "sold_out"
        if lost.reason != reason:
            text = f"{lost.lost_sale_id} says {lost.reason}, by its other fields it is {reason}"
            self._find("wrong reason", self._topic, offset, text)

    def _possible(self, account: ProductAccount, quantity: int, promotion: int) -> frozenset[float]:
        """Return the possible values of a quantity of a product: to members or not, with supplements or without."""
        kind = account.product.product_id, quantity, promotion
        values = self._values.get(kind)
        if values is None:
            if len(self._values) >= MAX_VALUES:
                self._values.clear()
            ways = [(member, supplements) for member in (False, True) for supplements in (False, True)]
            lines = [line(account.product, terms(quantity, *way, self._plan.sales), promotion) for way in ways]
            values = self._values[kind] = frozenset(amount(each.total_cents) for each in lines)
        return values

    # --- Comparison with the shelf ---

    def look(self, account: ProductAccount, until: datetime, instead_of: str | None) -> None:
        """Compare the customers who were turned away before a sale with the shelf.

        `until`: event time of the sale; `instead_of`: the product that its customer had asked for, if another one.
        """
        lost = account.lost
        while lost and (lost[0].at < until or (lost[0].at == until and _before(account, instead_of))):
            self._beside_the_shelf(account, lost.popleft())

    def _beside_the_shelf(self, account: ProductAccount, turned: PendingLostSale) -> None:
        at, lost, offset = turned
        self._restocks.receive(account, micros(at))
        if not account.certain:
            return
        of, this = account.shelf, lost.lost_sale_id
        if of.level >= lost.quantity:
            text = f"{this} wanted {lost.quantity} at {at}, when {of.level} were there"
            self._find("not sold out", self._topic, offset, text)
        elif of.level != lost.level:
            text = f"{this} found {lost.level} at {at}, when {of.level} were there"
            self._find("wrong level", self._topic, offset, text)
        else:
            promised, incident = of.backorder_info(micros(at))
            right = None if promised == shelf.END_OF_TIME else moment(promised)
            if (lost.promised, lost.incident) != (right, incident):
                text = f"{this} says {lost.promised}, held up by {lost.incident}; it is {right}, {incident}"
                self._find("wrong promise", self._topic, offset, text)

    def close(self, account: ProductAccount, until: datetime) -> None:
        """Examine the remaining lost sales of a product, up to an event time after which it may have been sold."""
        self.look(account, until, None)
        row = account.row
        if row is not None and row.lost_sales > account.lost_number:
            text = f"{account.product.product_id} has {row.lost_sales} there, {account.lost_number} in the log"
            self._find("table", self._topic, account.lost_offset, text)

    def _compare(self, account: ProductAccount) -> None:
        """Compare the log with the table's row for the same number of lost sales."""
        assert account.row is not None
        log = {
            "lost": account.lost_units,
            "lost_cents": account.lost_cents,
            "substituted": account.substituted,
            "last_lost": text_of(micros(account.lost_at)),
            "lost_offset": account.lost_offset,
        }
        off = account.row.differences(log)
        if off:
            text = f"{account.product.product_id} after {account.lost_number} lost sales: {off}"
            self._find("table", self._topic, account.lost_offset, text)


def _before(account: ProductAccount, instead_of: str | None) -> bool:
    """Return whether, at one time, customers who ask for the product precede those who buy it as a substitute."""
    return instead_of is not None and account.product.product_id < instead_of


def last_lost_sale(records: Iterable[Message]) -> datetime:
    """Return the latest event time among lost sales."""
    return max((_time(record) for record in records), default=BEGINNING_OF_TIME)


def _time(record: Message) -> datetime:
    lost = decoded_or_none(read_lost, record.value)
    return BEGINNING_OF_TIME if lost is None or lost.event_time.tzinfo else lost.event_time
