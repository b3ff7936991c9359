"""The audit of one partition: a fold over its purchases, together with its lost sales, restocks and dead letters."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from yasdg_app.audit.account import Deleted, MissingSales, ProductAccount, Topics, WorkerTableRow
from yasdg_app.audit.audited_messages import AuditedSale, read_sale
from yasdg_app.audit.dead_letters import DeadLetterAudit
from yasdg_app.audit.event_times import BEGINNING_OF_TIME, micros, text_of
from yasdg_app.audit.lost_sales import LostSaleAudit
from yasdg_app.audit.plan_intervals import PlanInterval
from yasdg_app.audit.report import AuditFinding, AuditReport
from yasdg_app.audit.restocks import RestockAudit
from yasdg_app.audit.substitutions import Substitutions
from yasdg_app.kafka.decoding import UNREADABLE, decoded_or_none
from yasdg_app.kafka.reader import Chunk, Message
from yasdg_app.messages.decoders import InvalidMessageError, SaleEvent, read_purchase
from yasdg_app.messages.ids import default_partition, transaction_id
from yasdg_app.messages.reference import amount
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.price import BASIS_POINTS, Line, line, terms

MAX_MISSING_RANGES = 1_000  # of sales of one product, remembered in case they come later
MAX_OPTIONS = 64  # ways to buy a product that are remembered as right


class PartitionAudit:
    """The audit of one partition.

    Before each chunk of `purchases`, call `restocks` and `lost_sales` while `wants_restocks` and `wants_lost_sales`
    return true for the chunk; call `dead_letters` while `wants_dead_letters` is true. At the end call these three with
    what is left, then `late_restocks` and `late_dead_letters` while `expects_more` is true, then `close`.

    Messages of other producers on purchases and lost sales must be among the dead letters; otherwise they are ignored.

    Parameters
    ----------
    plan
        The shop's plan, with all changes from its control topic.
    table
        The workers' rows to compare with the log, by product_id.
    substitutions
        Those of the whole shop.
    deleted
        What was deleted at the start of the partition, by topic. If purchases were deleted, levels, restocks and the
        table cannot be compared.
    """

    def __init__(
        self,
        topics: Topics,
        partition: int,
        plan: Plan,
        partitions: int,
        report: AuditReport,
        table: Mapping[str, Mapping[str, Any]],
        substitutions: Substitutions,
        deleted: Mapping[str, Deleted] | None = None,
    ) -> None:
        deleted = deleted or {}
        cut = {topic: what for topic, what in deleted.items() if what.number != 0}
        self._topics = topics
        self._partition = partition
        self._plan = plan
        self._report = report
        self._substitutions = substitutions
        self._partition_by_product = {
            product.product_id: default_partition(product.product_id, partitions) for product in plan.products
        }
        here = [product for product in plan.products if self._partition_by_product[product.product_id] == partition]
        self._accounts = {product.product_id: ProductAccount.of(product, plan.supply.min_inventory) for product in here}
        for product_id, account in self._accounts.items():
            row = table.get(product_id)
            account.row = None if row is None else WorkerTableRow(row, row["sales"], row.get("lost_sales", 0))
            if topics.purchases in cut:
                account.level.can_be_known, account.level.is_known, account.row = False, False, None
                account.refresh(plan.supply.min_inventory)
        self._interval = PlanInterval(plan, here)
        for topic, what in cut.items():
            self._find("deleted", topic, what.first, what.text)
        self._is_cut = topics.purchases in cut
        self._letters, self._lost_letters = (
            DeadLetterAudit(
                topic, topics.dead_letters, self._find, report.foreign_in(topic),
                first=deleted[topic].first if topic in deleted else 0, are_whole=topics.dead_letters not in cut,
            )
            for topic in (topics.purchases, topics.lost_sales)
        )  # fmt: skip
        self._letters_ended = False
        self._restocks = RestockAudit(
            plan.supply, topics, self._find, report, self._accounts, is_cut=topics.stockings in cut
        )
        self._lost = LostSaleAudit(
            plan, topics, self._find, report, self._accounts, self._partition_by_product, partition, self._restocks,
            self._lost_letters, substitutions, is_cut=topics.lost_sales in cut,
        )  # fmt: skip
        self._until = BEGINNING_OF_TIME  # event time of the last sale that was examined

    # --- Input besides the purchases ---

    def wants_restocks(self, sales: Sequence[AuditedSale | None]) -> bool:
        """Return whether more restocks must be read before these sales are examined."""
        return self._restocks.wants(len(sales))

    def wants_lost_sales(self, sales: Sequence[AuditedSale | None]) -> bool:
        """Return whether more lost sales must be read before these sales are examined."""
        return self._lost.wants(_last_time(sales))

    @property
    def wants_dead_letters(self) -> bool:
        """Whether more dead letters must be read, after a chunk of purchases or lost sales."""
        return not self._letters_ended and (self._letters.expects_more or self._lost_letters.expects_more)

    def restocks(self, records: Sequence[Message]) -> None:
        """Process restocks in log order; an empty sequence: the end of the topic."""
        self._restocks.take(records)

    def lost_sales(self, chunk: Chunk | None) -> None:
        """Process the next chunk of lost sales, in log order; None: the end of the topic."""
        self._lost.take(chunk)

    def dead_letters(self, records: Sequence[Message]) -> None:
        """Process dead letters in log order; an empty sequence: the end of the topic."""
        if not records:
            self._letters_ended = True
        for record in records:
            self._report.dead_letters += 1
            letters, of = self._letter_of(record)
            if of is None:
                text = "its headers do not name the message that it copies"
                self._find("no cause", self._topics.dead_letters, record.offset, text)
            else:
                letters.letter(of, record.offset)

    def _letter_of(self, record: Message) -> tuple[DeadLetterAudit, int | None]:
        try:
            headers = dict(record.headers)
            lost = headers.get("topic") == self._topics.lost_sales.encode()
            return self._lost_letters if lost else self._letters, int(headers["offset"])
        except UNREADABLE:
            return self._letters, None

    # --- The fold ---

    @staticmethod
    def read(records: Sequence[Message]) -> list[AuditedSale | None]:
        """Return the purchases of a chunk; None for a message that cannot be read as one in the fast path."""
        try:
            return [read_sale(record.value) for record in records]  # type: ignore[arg-type]
        except UNREADABLE:
            return [_sale_or_none(record.value) for record in records]

    def purchases(self, chunk: Chunk, sales: Sequence[AuditedSale | None]) -> None:
        """Examine the next chunk of purchases, in log order.

        `sales`: the result of `read` for the chunk's messages.
        """
        accounts, report = self._accounts, self._report
        begin, end = self._open()
        report.purchases += len(chunk.messages)
        if chunk.foreign:
            self._letters.foreign(message.offset for message in chunk.foreign)
        for record, sale in zip(chunk.messages, sales, strict=True):
            account = accounts.get(sale.product_id) if sale is not None else None
            if sale is None or account is None:
                self._no_purchase(record)
                continue
            at, quantity = sale.transaction_time, sale.quantity
            option = (
                sale.price, quantity, sale.is_member, sale.member_discount, sale.add_supplements, sale.supplement_price,
                sale.total_purchase, sale.total_cost, sale.promotion_discount,
            )  # fmt: skip
            counted = account.sales
            cents = counted.valid_options.get(option)
            number = counted.number + 1
            if (
                cents is None
                or sale.transaction_id != f"{sale.product_id}-{number:06d}"
                or record.key != account.key
                or at.tzinfo is not None
                or at < counted.at
                or not begin <= at < end
            ):
                checked = self._check(account, record, sale, option)
                begin, end = self._open()
                if checked is None:
                    continue
                number, cents = checked
            counted.number = number
            counted.at = at
            counted.offset = record.offset
            counted.units += quantity
            counted.revenue_cents += cents[0]
            counted.cost_cents += cents[1]
            shelf, status = account.shelf, account.level
            level = shelf.level - quantity
            if sale.substituted_from is not None:
                self._add_substitute(sale, record)
            if level <= status.check_at_level or at >= status.next_check_at:
                self._apply_to_shelf(account, sale)
            else:
                shelf.level = level  # all that Shelf.sell does if nothing is ordered and nothing is due
            if account.row is not None and number == account.row.sales:
                self._compare_with_table(account)
        self._until = max(self._until, _last_time(sales))
        self._letters.read_through(chunk.end - 1)
        self._restocks.sweep()
        self._note_times(sales)

    def _open(self) -> tuple[datetime, datetime]:
        """Return the interval in which the time of a sale needs no check: an empty one while the shop is closed."""
        interval = self._interval
        return (BEGINNING_OF_TIME, BEGINNING_OF_TIME) if interval.closed else (interval.begin, interval.end)

    def _apply_to_shelf(self, account: ProductAccount, sale: AuditedSale) -> None:
        """Apply a sale to the shelf if another event may have come before or after it."""
        if not account.level.can_be_known:
            return
        if account.lost_sales.pending:
            self._lost.compare_pending(account, account.sales.at, sale.substituted_from)
        self._restocks.sell(account, sale.quantity)
        account.refresh(self._plan.supply.min_inventory)

    def _add_substitute(self, sale: AuditedSale, record: Message) -> None:
        requested = sale.substituted_from or ""
        if not self._substitutions.sold(requested, sale, record.offset):
            text = f"{sale.transaction_id}: {sale.product_id} is not a substitute for {requested}"
            self._find("wrong substitute", self._topics.purchases, record.offset, text)

    def _note_times(self, sales: Sequence[AuditedSale | None]) -> None:
        times = [
            sale.transaction_time for sale in (*sales[:1], *sales[-1:]) if sale and not sale.transaction_time.tzinfo
        ]
        report = self._report
        report.first = min((at for at in (report.first, *times) if at), default=None)
        report.last = max((at for at in (report.last, *times) if at), default=None)

    def _check(
        self, account: ProductAccount, record: Message, sale: AuditedSale, option: tuple[Any, ...]
    ) -> tuple[int, tuple[int, int]] | None:
        """Check a message that may not be the expected next sale; return its number, and its revenue and cost in cents.

        None: it does not count.
        """
        topic, offset, at = self._topics.purchases, record.offset, sale.transaction_time
        try:
            _, number = self._read_purchase(record)
        except InvalidMessageError:
            self._no_purchase(record)
            return None
        if record.key != account.key:
            text = f"{sale.transaction_id} has the key {record.key!r}, expected {account.key!r}"
            self._find("wrong key", topic, offset, text)
        number = self._in_order(account, record, number)
        if not number:
            return None
        if at < account.sales.at:
            text = f"{sale.transaction_id} has the time {at}, but the previous sale has {account.sales.at}"
            self._find("time goes back", topic, offset, text)
        self._advance_to(at)
        if self._interval.closed:
            text = f"{sale.transaction_id} at {at}, when the shop was {self._interval.closed}"
            self._find("closed", topic, offset, text)
        valid_options = account.sales.valid_options
        if option in valid_options:
            return number, valid_options[option]
        cents = round(sale.total_purchase * 100), round((sale.total_cost or 0.0) * 100)
        promotion = self._interval.promotions.get(sale.product_id, 0)
        kind = sale.quantity, sale.is_member, sale.add_supplements
        wrong = _wrong(sale, line(account.product, terms(*kind, self._plan.sales), promotion))
        if wrong is not None:
            self._find(wrong[0], topic, offset, f"{sale.transaction_id}: {wrong[1]}")
        elif len(valid_options) < MAX_OPTIONS:
            valid_options[option] = cents
        return number, cents

    def _advance_to(self, at: datetime) -> None:
        """Move to the plan interval of a time; forget the ways to buy that were right at other promotions."""
        before = self._interval.promotions
        if not self._interval.advance_to(at):
            return
        promotions = self._interval.promotions
        for product_id in before.keys() | promotions.keys():
            if before.get(product_id) != promotions.get(product_id):
                self._accounts[product_id].sales.valid_options.clear()

    def _in_order(self, account: ProductAccount, record: Message, number: int) -> int:
        """Check whether a sale is the next one; return the new number of the last sale, 0 if it does not count."""
        topic, offset, product_id = self._topics.purchases, record.offset, account.product.product_id
        sales = account.sales
        if number == sales.number + 1 or (self._is_cut and not sales.number and number):
            return number
        if number > sales.number + 1:
            self._lose_count(account)
            sales.missing.append(MissingSales(sales.number + 1, number - 1, offset))
            if len(sales.missing) > MAX_MISSING_RANGES:
                self._report_missing(account, sales.missing.pop(0))
            return number
        gap = next((gap for gap in sales.missing if gap.first <= number <= gap.last), None)
        this, expected = transaction_id(product_id, number), transaction_id(product_id, sales.number + 1)
        if gap is None:
            self._find("double sale", topic, offset, f"{this} is a duplicate; expected {expected}")
            return 0
        sales.missing.remove(gap)
        rests = (MissingSales(gap.first, number - 1, gap.offset), MissingSales(number + 1, gap.last, gap.offset))
        sales.missing += [rest for rest in rests if rest.first <= rest.last]
        self._find("out of order", topic, offset, f"{this} comes after {transaction_id(product_id, sales.number)}")
        return sales.number

    def _lose_count(self, account: ProductAccount) -> None:
        """Record that a sale is unknown: the level is unknown as well, and nothing can be compared."""
        account.level.is_known, account.level.follows_unknown_sale, account.row = False, True, None
        account.refresh(self._plan.supply.min_inventory)

    def _no_purchase(self, record: Message) -> None:
        """Record a message that the shop's workers do not accept as a purchase: it needs a dead letter."""
        try:
            sale, number = self._read_purchase(record)
        except InvalidMessageError as why:
            self._report.purchases -= 1
            self._letters.no_message(record.offset, str(why))
        else:
            text = f"{sale.transaction_id} lacks a field of a purchase, or has an invalid one"
            self._find("unreadable", self._topics.purchases, record.offset, text)
            account = self._accounts[sale.product_id]
            account.sales.number = max(account.sales.number, number)
            self._lose_count(account)

    def _read_purchase(self, record: Message) -> tuple[SaleEvent, int]:
        return read_purchase(
            record.value, self._partition, self._partition_by_product.get, self._plan.supply.largest_quantity
        )

    # --- End of the audit ---

    @property
    def expects_more(self) -> bool:
        """True while the log lacks expected restocks or dead letters."""
        letters = self._letters.expects_more or self._lost_letters.expects_more
        return letters or any(account.restocks.expected for account in self._accounts.values())

    def late_restocks(self, records: Iterable[Message]) -> None:
        """Process restocks written since the audit began: some of them may be expected."""
        self._restocks.take_late(records)

    def late_dead_letters(self, records: Iterable[Message]) -> None:
        """Process dead letters written since the audit began."""
        for record in records:
            self._report.dead_letters += 1
            letters, of = self._letter_of(record)
            if of is not None:
                letters.late(of)

    def close(self) -> None:
        """Report what is still missing."""
        for account in self._accounts.values():
            for gap in account.sales.missing:
                self._report_missing(account, gap)
            self._restocks.close(account)
            self._lost.close(account, self._until)
            row, sales = account.row, account.sales
            if row is not None and row.sales > sales.number:
                text = f"{account.product.product_id} has {row.sales} sales in the table, but {sales.number} in the log"
                self._find("table", self._topics.purchases, sales.offset, text)
        self._letters.close()
        self._lost_letters.close()

    def _compare_with_table(self, account: ProductAccount) -> None:
        """Compare the log with the table's row for the same number of sales."""
        if account.row is None or not account.level.is_known:
            return
        self._report.table_rows += 1
        shelf, sales = account.shelf, account.sales
        log = {
            "level": shelf.level,
            "initial": shelf.initial,
            "sold": sales.units,
            "stockings": shelf.restocks,
            "restocked": shelf.restocked,
            "on_order": shelf.on_order,
            "ordered_at": text_of(shelf.ordered_at) if shelf.on_order else "",
            "promised": text_of(shelf.promised) if shelf.on_order else "",
            "revenue_cents": sales.revenue_cents,
            "cost_cents": sales.cost_cents,
            "margin_cents": sales.revenue_cents - sales.cost_cents,
            "last_sale": text_of(micros(sales.at)),
            "offset": sales.offset,
        }
        if differences := account.row.differences(log):
            text = f"{account.product.product_id} in the table after {sales.number} sales: {differences}"
            self._find("table", self._topics.purchases, sales.offset, text)

    # --- Findings ---

    def _report_missing(self, account: ProductAccount, gap: MissingSales) -> None:
        ids = [transaction_id(account.product.product_id, number) for number in (gap.first, gap.last)]
        text = ids[0] if gap.first == gap.last else f"{ids[0]} to {ids[1]}"
        self._find("missing sale", self._topics.purchases, gap.offset, f"expected {text} before this sale")

    def _find(self, kind: str, topic: str, offset: int, text: str) -> None:
        self._report.add(AuditFinding(kind, topic, self._partition, offset, text))


def _sale_or_none(value: bytes | None) -> AuditedSale | None:
    return decoded_or_none(read_sale, value)


def _last_time(sales: Sequence[AuditedSale | None]) -> datetime:
    """Return the event time of the last sale that has one."""
    times = (sale.transaction_time for sale in reversed(sales) if sale is not None)
    return next((at for at in times if at.tzinfo is None), BEGINNING_OF_TIME)


def _wrong(sale: AuditedSale, right: Line) -> tuple[str, str] | None:
    """Return which amount of a sale is wrong, and a description; None if all are right to the cent."""
    discount, cost = right.promotion / BASIS_POINTS, None if right.cost_cents is None else amount(right.cost_cents)
    if sale.promotion_discount != discount:
        return "wrong discount", f"promotion_discount is {sale.promotion_discount}, expected {discount}"
    if sale.total_cost != cost:
        return "wrong cost", f"total_cost is {sale.total_cost}, expected {cost}"
    found = sale.price, sale.supplement_price, sale.member_discount, sale.total_purchase
    expected = (
        amount(right.product.price_cents), amount(right.supplement_cents), right.member_discount / BASIS_POINTS,
        amount(right.total_cents),
    )  # fmt: skip
    names = "price", "supplement_price", "member_discount", "total_purchase"
    wrong = [
        f"{name} is {is_}, expected {was}" for name, is_, was in zip(names, found, expected, strict=True) if is_ != was
    ]
    return ("wrong total", "; ".join(wrong)) if wrong else None


def last_sale(records: Iterable[Message]) -> datetime:
    """Return the latest event time among purchases."""
    return max((_last_time([_sale_or_none(record.value)]) for record in records), default=BEGINNING_OF_TIME)
