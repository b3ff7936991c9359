"""Checks the lost sales of a partition: no gap in their numbers, a possible value, and too little stock as reason."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from yasdg_app.audit.account import Find, PendingLostSale, ProductAccount, Topics
from yasdg_app.audit.audited_messages import AuditedLostSale, read_lost
from yasdg_app.audit.dead_letters import DeadLetterAudit
from yasdg_app.audit.event_times import BEGINNING_OF_TIME, END_OF_TIME, micros, moment, text_of
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
            event, number = read_lost_sale(
                record.value, self._partition, self._partition_by_product.get, self._plan.supply.largest_quantity
            )  # fmt: skip
        except InvalidMessageError as why:
            self._letters.no_message(record.offset, str(why))
            return None
        lost = decoded_or_none(read_lost, record.value)
        if lost is not None and (lost.promised is None or lost.promised.tzinfo is None):
            return lost
        text = f"{event.lost_sale_id} lacks a field of a lost sale, or has an invalid one"
        self._find("unreadable", self._topic, record.offset, text)
        account = self._accounts[event.product_id]
        account.lost_sales.number = max(account.lost_sales.number, number)
        account.row = None  # a missing value cannot be compared
        return None

    def _take(self, account: ProductAccount, lost: AuditedLostSale, record: Message) -> None:
        at, offset, before = lost.event_time, record.offset, account.lost_sales
        self._until = at  # not the latest: one wrong time says nothing about the ones after it
        if not self._is_next(account, lost, offset):
            return
        if record.key != account.key:
            text = f"{lost.lost_sale_id} has the key {record.key!r}, expected {account.key!r}"
            self._find("wrong key", self._topic, offset, text)
        if at < before.at:
            text = f"{lost.lost_sale_id} has the time {at}, but the previous lost sale has {before.at}"
            self._find("time goes back", self._topic, offset, text)
            while before.pending and before.pending[-1].at > at:  # this one or those have a wrong time
                before.pending.pop()
        before.at, before.offset = at, offset
        self._count(account, lost, offset)
        self._check(account, lost, offset)
        if account.level.can_be_known:
            before.pending.append(PendingLostSale(at, lost, offset))
            account.level.next_check_at = min(account.level.next_check_at, before.pending[0].at)
        if account.row is not None and account.row.lost_sales == before.number:
            self._compare_with_table(account)

    def _is_next(self, account: ProductAccount, lost: AuditedLostSale, offset: int) -> bool:
        product_id, last = account.product.product_id, account.lost_sales.number
        number = int(lost.lost_sale_id[len(product_id) + 2 :])
        if number <= last:
            text = f"{lost.lost_sale_id} is a duplicate; expected {lost_sale_id(product_id, last + 1)}"
            self._find("double lost sale", self._topic, offset, text)
            return False
        if number > last + 1 and (last or not self._is_cut):
            first, until = lost_sale_id(product_id, last + 1), lost_sale_id(product_id, number - 1)
            text = first if number == last + 2 else f"{first} to {until}"
            self._find("missing lost sale", self._topic, offset, f"expected {text} before this lost sale")
            account.row = None  # a missing value cannot be compared
        account.lost_sales.number = number
        return True

    def _count(self, account: ProductAccount, lost: AuditedLostSale, offset: int) -> None:
        report, cents, sums = self._report, round(lost.value * 100), account.lost_sales
        report.lost_sales += 1
        if lost.substitute is None:
            sums.units += lost.quantity
            sums.cents += cents
            report.lost_units += lost.quantity
            report.lost_cents += cents
            return
        sums.substituted_units += lost.quantity
        report.substituted_units += lost.quantity
        if not self._substitutions.lost(lost, lost.substitute, offset):
            text = f"{lost.lost_sale_id}: {lost.substitute} is not a substitute for {lost.product_id}"
            self._find("wrong substitute", self._topic, offset, text)

    def _check(self, account: ProductAccount, lost: AuditedLostSale, offset: int) -> None:
        """Check everything that does not depend on the shelf."""
        interval = self._interval
        interval.advance_to(lost.event_time)
        if interval.closed:
            text = f"{lost.lost_sale_id} at {lost.event_time}, when the shop was {interval.closed}"
            self._find("closed", self._topic, offset, text)
        promotion = interval.promotions.get(lost.product_id, 0)
        values = self._possible(account, lost.quantity, promotion)
        if lost.value not in values:
            wanted = " or ".join(map(str, sorted(values)))
            text = f"{lost.lost_sale_id} has the value {lost.value}, expected {wanted}"
            self._find("wrong value", self._topic, offset, text)
        reason = "held_up" if lost.incident is not None else "too_few" if lost.level else "sold_out"
        if lost.reason != reason:
            text = f"{lost.lost_sale_id} has the reason {lost.reason}, expected {reason} by its other fields"
            self._find("wrong reason", self._topic, offset, text)

    def _possible(self, account: ProductAccount, quantity: int, promotion: int) -> frozenset[float]:
        """Return the possible values of a quantity of a product: to members or not, with supplements or without."""
        kind = account.product.product_id, quantity, promotion
        values = self._values.get(kind)
        if values is None:
            if len(self._values) >= MAX_VALUES:
                self._values.clear()
            options = [(member, supplements) for member in (False, True) for supplements in (False, True)]
            lines = [line(account.product, terms(quantity, *option, self._plan.sales), promotion) for option in options]
            values = self._values[kind] = frozenset(amount(each.total_cents) for each in lines)
        return values

    # --- Comparison with the shelf ---

    def compare_pending(self, account: ProductAccount, until: datetime, requested_product: str | None) -> None:
        """Compare the lost sales before a sale with the shelf.

        `until`: event time of the sale; `requested_product`: what its customer had asked for, if another product.
        """
        pending = account.lost_sales.pending
        while pending and (pending[0].at < until or (pending[0].at == until and _precedes(account, requested_product))):
            self._compare_with_shelf(account, pending.popleft())

    def _compare_with_shelf(self, account: ProductAccount, pending: PendingLostSale) -> None:
        at, lost, offset = pending
        self._restocks.receive(account, micros(at))
        if not account.level.is_known:
            return
        level, this = account.shelf.level, lost.lost_sale_id
        if level >= lost.quantity:
            text = f"{this} is for {lost.quantity} units at {at}, when the level was {level}: the shelf had enough"
            self._find("not sold out", self._topic, offset, text)
        elif level != lost.level:
            text = f"{this} has the level {lost.level} at {at}, expected {level}"
            self._find("wrong level", self._topic, offset, text)
        else:
            eta, incident = account.shelf.backorder_info(micros(at))
            promised = None if eta == shelf.END_OF_TIME else moment(eta)
            if (lost.promised, lost.incident) != (promised, incident):
                text = (
                    f"{this} has promised {lost.promised} and incident {lost.incident}, expected {promised} and "
                    f"{incident}"
                )
                self._find("wrong promise", self._topic, offset, text)

    def close(self, account: ProductAccount, until: datetime) -> None:
        """Examine the remaining lost sales of a product, up to an event time after which it may have been sold."""
        self.compare_pending(account, until, None)
        row, lost_sales = account.row, account.lost_sales
        if row is not None and row.lost_sales > lost_sales.number:
            text = (
                f"{account.product.product_id} has {row.lost_sales} lost sales in the table, but {lost_sales.number} "
                "in the log"
            )
            self._find("table", self._topic, lost_sales.offset, text)

    def _compare_with_table(self, account: ProductAccount) -> None:
        """Compare the log with the table's row for the same number of lost sales."""
        assert account.row is not None
        lost_sales = account.lost_sales
        log = {
            "lost": lost_sales.units,
            "lost_cents": lost_sales.cents,
            "substituted": lost_sales.substituted_units,
            "last_lost": text_of(micros(lost_sales.at)),
            "lost_offset": lost_sales.offset,
        }
        if differences := account.row.differences(log):
            text = f"{account.product.product_id} in the table after {lost_sales.number} lost sales: {differences}"
            self._find("table", self._topic, lost_sales.offset, text)


def _precedes(account: ProductAccount, requested_product: str | None) -> bool:
    """Return whether, at one time, customers who ask for the product precede those who buy it as a substitute."""
    return requested_product is not None and account.product.product_id < requested_product


def last_lost_sale(records: Iterable[Message]) -> datetime:
    """Return the latest event time among lost sales."""
    return max((_time(record) for record in records), default=BEGINNING_OF_TIME)


def _time(record: Message) -> datetime:
    lost = decoded_or_none(read_lost, record.value)
    return BEGINNING_OF_TIME if lost is None or lost.event_time.tzinfo else lost.event_time
