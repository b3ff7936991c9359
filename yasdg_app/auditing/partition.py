"""The audit of one partition: a fold over its purchases, beside them its restocks and dead letters."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from yasdg_app.auditing.account import (
    NEVER,
    UNREADABLE,
    Account,
    Gap,
    Product,
    Sale,
    Told,
    read_restock,
    read_sale,
)
from yasdg_app.auditing.report import Finding, Report
from yasdg_app.messages import (
    NoPurchaseError,
    event_time,
    home,
    read_purchase,
    stocking_number,
    time_text,
    transaction_id,
)
from yasdg_app.reading import Message
from yasdg_app.shop.price import cents, total_cents

MOST_GAPS = 1_000  # of one product, kept in mind in case that the sales come later; so are restocks that are due
MOST_WAYS = 64  # to buy a product that are remembered as right
LATEST = datetime.max


@dataclass(frozen=True, slots=True)
class Rule:
    """When shelves are restocked, and by how much."""

    min_inventory: int
    restock_amount: int


class Topics(NamedTuple):
    """Names of the topics."""

    products: str
    purchases: str
    stockings: str
    dead_letters: str


class PartitionAudit:
    """The audit of one partition.

    Call `stockings` and `dead_letters` ahead of `purchases`: as long as `wants_stockings` and `wants_letters` say of a
    chunk of purchases. At the end call `late_stockings` and `late_letters` while `owes`, then `close`.
    """

    def __init__(
        self,
        topics: Topics,
        partition: int,
        products: Mapping[str, Product],
        partitions: int,
        rule: Rule,
        report: Report,
        table: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._topics = topics
        self._partition = partition
        self._rule = rule
        self._report = report
        self._homes = {product_id: home(product_id, partitions) for product_id in products}
        self._accounts = {
            product_id: Account.of(products[product_id])
            for product_id, where in self._homes.items()
            if where == partition
        }
        for product_id, account in self._accounts.items():
            if product_id in table:
                account.row = table[product_id]
                account.row_number = account.row["sales"]
        self._told_until = NEVER  # restocks were read up to this event time
        self._letters: deque[tuple[int, int]] = deque()  # offsets of a message, and of its dead letter
        self._letters_until = -1
        self._unburied: deque[int] = deque()  # offsets of what is no purchase and not among the dead letters yet

    # --- What is read ahead -------------------------------------------------------------------------------------

    def wants_stockings(self, sales: Sequence[Sale | None]) -> bool:
        """Tell whether more restocks are to be read before these sales are looked at."""
        times = (sale.transaction_time for sale in reversed(sales) if sale is not None)
        return self._told_until <= next((at for at in times if at.tzinfo is None), NEVER)

    def wants_letters(self, records: Sequence[Message]) -> bool:
        """Tell whether more dead letters are to be read before these messages are looked at."""
        return self._letters_until < records[-1].offset

    def stockings(self, records: Sequence[Message]) -> None:
        """Take restocks in the order of the log; none at all: there are no more of them."""
        if not records:
            self._told_until = LATEST
        for record in records:
            told = self._read_stocking(record)
            if told is not None:
                account, entry = told
                account.told.append(entry)
                self._told_until = entry.at  # not the latest: one time that is wrong says nothing of those behind it

    def dead_letters(self, records: Sequence[Message]) -> None:
        """Take dead letters in the order of the log; none at all: there are no more of them."""
        if not records:
            self._letters_until = 2**63
        for record in records:
            self._report.dead_letters += 1
            offset = self._letter_of(record)
            if offset is None:
                self._find("no cause", self._topics.dead_letters, record.offset, "it does not say what it is a copy of")
            else:
                self._letters.append((offset, record.offset))
                self._letters_until = max(self._letters_until, offset)

    def _letter_of(self, record: Message) -> int | None:
        try:
            return int(dict(record.headers)["offset"])
        except (KeyError, ValueError):
            return None

    def _read_stocking(self, record: Message) -> tuple[Account, Told] | None:
        self._report.stockings += 1
        topic = self._topics.stockings
        try:
            message = read_restock(record.value or b"")
        except UNREADABLE as error:
            self._find("unreadable", topic, record.offset, str(error))
            return None
        account = self._accounts.get(message.product_id)
        number = stocking_number(message.product_id, message.stocking_id)
        if account is None or number is None or message.event_time.tzinfo is not None:
            self._find("unreadable", topic, record.offset, f"no restock of a product of this partition: {message}")
            return None
        if record.key != account.key:
            self._find("wrong key", topic, record.offset, f"{message.stocking_id} has the key {record.key!r}")
        levels = message.existing_level, message.stock_quantity, message.new_level
        return account, Told(message.event_time, number, levels, record.offset)

    # --- The fold -----------------------------------------------------------------------------------------------

    @staticmethod
    def read(records: Sequence[Message]) -> list[Sale | None]:
        """Return the purchases of a chunk; None where a message is none at first sight."""
        try:
            return [read_sale(record.value) for record in records]  # type: ignore[arg-type]
        except (*UNREADABLE, TypeError):
            return [_sale_or_none(record.value) for record in records]

    def purchases(self, records: Sequence[Message], sales: Sequence[Sale | None]) -> None:
        """Look at messages of the purchases topic in the order of the log; `sales`: what `read` makes of them."""
        accounts, report, lowest = self._accounts, self._report, self._rule.min_inventory
        while self._letters and self._letters[0][0] < records[0].offset:
            self._no_cause(self._letters.popleft())
        report.purchases += len(records)
        for record, sale in zip(records, sales, strict=True):
            account = accounts.get(sale.product_id) if sale is not None else None
            if sale is None or account is None:
                self._no_purchase(record)
                continue
            at, quantity = sale.transaction_time, sale.quantity
            way = (
                sale.price, quantity, sale.is_member, sale.member_discount, sale.add_supplements, sale.supplement_price,
                sale.total_purchase,
            )  # fmt: skip
            amount = account.ways.get(way)
            number = account.number + 1
            if (
                amount is None
                or sale.transaction_id != f"{sale.product_id}-{number:06d}"
                or record.key != account.key
                or at.tzinfo is not None
                or at < account.at
            ):
                checked = self._odd(account, record, sale, way)
                if checked is None:
                    continue
                number, amount = checked
            level = account.level - quantity
            account.number = number
            account.at = at
            account.offset = record.offset
            account.sold += quantity
            account.revenue_cents += amount
            if level <= lowest or (account.told and account.told[0].at <= at):
                level = self._on_the_shelf(account, level, record)
            account.level = level
            if number == account.row_number:
                self._compare(account)
        self._note_times(sales)

    def _note_times(self, sales: Sequence[Sale | None]) -> None:
        times = [sale.transaction_time for sale in (sales[0], sales[-1]) if sale and not sale.transaction_time.tzinfo]
        report = self._report
        report.first = min((at for at in (report.first, *times) if at), default=None)
        report.last = max((at for at in (report.last, *times) if at), default=None)

    def _odd(self, account: Account, record: Message, sale: Sale, way: tuple[Any, ...]) -> tuple[int, int] | None:
        """Look closer at a message that is not the next sale as it should be; its number and cents if it counts."""
        topic, offset = self._topics.purchases, record.offset
        try:
            _, number = read_purchase(record.value, self._partition, self._homes)
        except NoPurchaseError:
            self._no_purchase(record)
            return None
        if record.key != account.key:
            self._find("wrong key", topic, offset, f"{sale.transaction_id} has the key {record.key!r}")
        number = self._in_order(account, record, number)
        if not number:
            return None
        if sale.transaction_time < account.at:
            text = f"{sale.transaction_id} is of {sale.transaction_time}, the one before of {account.at}"
            self._find("time goes back", topic, offset, text)
        if way in account.ways:
            return number, account.ways[way]
        wrong = _wrong(account.product, sale)
        if wrong:
            self._find("wrong total", topic, offset, f"{sale.transaction_id}: {wrong}")
            return number, round(sale.total_purchase * 100)
        if len(account.ways) < MOST_WAYS:
            account.ways[way] = round(sale.total_purchase * 100)
        return number, round(sale.total_purchase * 100)

    def _in_order(self, account: Account, record: Message, number: int) -> int:
        """See whether a sale is the next one; return the number of the last sale with it, 0 if it does not count."""
        topic, offset, product_id = self._topics.purchases, record.offset, account.product.product_id
        if number == account.number + 1:
            return number
        if number > account.number + 1:
            account.certain, account.row, account.row_number = False, None, 0  # what is missing cannot be compared
            account.gaps.append(Gap(account.number + 1, number - 1, offset))
            if len(account.gaps) > MOST_GAPS:
                self._missing(account, account.gaps.pop(0))
            return number
        gap = next((gap for gap in account.gaps if gap.first <= number <= gap.last), None)
        this = transaction_id(product_id, number)
        if gap is None:
            self._find("double sale", topic, offset, f"{this} was sold before; the last one is number {account.number}")
            return 0
        account.gaps.remove(gap)
        rests = (Gap(gap.first, number - 1, gap.offset), Gap(number + 1, gap.last, gap.offset))
        account.gaps += [rest for rest in rests if rest.first <= rest.last]
        self._find("out of order", topic, offset, f"{this} stands behind number {account.number}")
        return account.number

    def _no_purchase(self, record: Message) -> None:
        """Deal with a message that is no purchase to the shop's workers: it has to be among the dead letters."""
        topic, offset = self._topics.purchases, record.offset
        try:
            sale, number = read_purchase(record.value, self._partition, self._homes)
        except NoPurchaseError as why:
            self._report.purchases -= 1
            while self._letters and self._letters[0][0] < offset:
                self._no_cause(self._letters.popleft())
            if self._letters and self._letters[0][0] == offset:
                self._letters.popleft()
            elif self._letters_until == 2**63:
                self._unburied.append(offset)
            else:
                self._find("not put aside", topic, offset, f"{why}, and it is not among the dead letters")
        else:
            self._find("unreadable", topic, offset, f"{sale.transaction_id} lacks fields of a purchase")
            account = self._accounts[sale.product_id]
            account.number, account.certain = max(account.number, number), False

    def _on_the_shelf(self, account: Account, level: int, record: Message) -> int:
        """See whether a sale should have caused a restock, and has; return the level behind it."""
        at, told, due = account.at, account.told, level <= self._rule.min_inventory
        while told and (told[0].at < at or (told[0].at == at and told[0].number <= account.stockings)):
            self._too_many(account, told.popleft())
        here = told.popleft() if told and told[0].at == at else None
        if here is None and due and (here := next((later for later in told if later.at == at), None)):
            told.remove(here)  # it stands behind one whose time is wrong
        if not account.certain:  # what the log says is all there is to know
            if here is None:
                return level
            account.certain, account.stockings = True, here.number
            account.restocked += here.levels[1]
            return here.levels[2]
        if level < 0:
            self._find("below zero", self._topics.purchases, record.offset, f"{account.product.product_id}: {level}")
        if not due:
            if here is not None:
                self._too_many(account, here)
            return level
        account.stockings += 1
        account.restocked += self._rule.restock_amount
        after = level + self._rule.restock_amount
        wanted = Told(at, account.stockings, (level, self._rule.restock_amount, after), record.offset)
        if here is None:
            self._owe(account, wanted)
        else:
            self._match(account, wanted, here)
        return after

    def _owe(self, account: Account, wanted: Told) -> None:
        if self._told_until == LATEST:  # the workers may not have come so far
            account.owed.append(wanted)
            if len(account.owed) > MOST_GAPS:
                self._restock_missing(account, account.owed.popleft())
        else:
            self._restock_missing(account, wanted)

    def _match(self, account: Account, wanted: Told, here: Told) -> None:
        product_id = account.product.product_id
        if here.number != wanted.number:
            text = f"{_restock_id(product_id, here.number)} where number {wanted.number} is due"
            self._find("restock number", self._topics.stockings, here.offset, text)
            account.stockings = here.number
        if here.levels != wanted.levels:
            text = f"{_restock_id(product_id, here.number)} says {_sum(here)}, the sales say {_sum(wanted)}"
            self._find("wrong level", self._topics.stockings, here.offset, text)
            account.certain = False

    # --- The end ------------------------------------------------------------------------------------------------

    @property
    def owes(self) -> bool:
        """True while restocks or dead letters are due that the log does not hold yet."""
        return bool(self._unburied) or any(account.owed for account in self._accounts.values())

    def late_stockings(self, records: Iterable[Message]) -> None:
        """Take restocks that were told since the audit began: what is owed is looked for among them."""
        for record in records:
            found = self._read_stocking(record)
            if found is not None and found[0].owed and found[0].owed[0].at == found[1].at:
                account, told = found
                self._match(account, account.owed.popleft(), told)

    def late_letters(self, records: Iterable[Message]) -> None:
        """Take dead letters that were told since the audit began."""
        for record in records:
            self._report.dead_letters += 1
            if self._unburied and self._letter_of(record) == self._unburied[0]:
                self._unburied.popleft()

    def close(self) -> None:
        """Tell what is still open."""
        for account in self._accounts.values():
            for gap in account.gaps:
                self._missing(account, gap)
            for told in account.told:
                self._too_many(account, told)
            for owed in account.owed:
                self._restock_missing(account, owed)
            if account.row_number > account.number:
                text = f"{account.product.product_id} has {account.row_number} sales there, {account.number} in the log"
                self._find("table", self._topics.purchases, account.offset, text)
        for offset in self._unburied:
            text = "it is no purchase, and not among the dead letters"
            self._find("not put aside", self._topics.purchases, offset, text)
        for letter in self._letters:
            self._no_cause(letter)

    def _compare(self, account: Account) -> None:
        """Compare the log with the table's record of the same number of sales."""
        row = account.row
        if row is None or not account.certain:
            return
        self._report.table_rows += 1
        log = {
            "level": account.level,
            "initial": account.product.inventory,
            "sold": account.sold,
            "stockings": account.stockings,
            "restocked": account.restocked,
            "revenue_cents": account.revenue_cents,
            "cost_cents": round((account.product.cost or 0) * 100) * account.sold,
            "last_sale": time_text(event_time(str(account.at))),
            "offset": account.offset,
        }
        off = [f"{name} is {row.get(name)}, not {value}" for name, value in log.items() if row.get(name) != value]
        if off:
            text = f"{account.product.product_id} after {account.number} sales: {'; '.join(off)}"
            self._find("table", self._topics.purchases, account.offset, text)

    # --- Findings -----------------------------------------------------------------------------------------------

    def _missing(self, account: Account, gap: Gap) -> None:
        ids = [transaction_id(account.product.product_id, number) for number in (gap.first, gap.last)]
        text = ids[0] if gap.first == gap.last else f"{ids[0]} to {ids[1]}"
        self._find("missing sale", self._topics.purchases, gap.offset, f"{text} should stand before it")

    def _restock_missing(self, account: Account, wanted: Told) -> None:
        text = (
            f"the sale at {wanted.at} left {wanted.levels[0]}, but "
            f"{_restock_id(account.product.product_id, wanted.number)} does not stand in {self._topics.stockings}"
        )
        if self._told_until == LATEST:
            text += " (yet, if no worker has run since: start one, and audit again)"
        self._find("missing restock", self._topics.purchases, wanted.offset, text)

    def _too_many(self, account: Account, told: Told) -> None:
        this, twice = _restock_id(account.product.product_id, told.number), told.number <= account.stockings
        text = f"{this} was told before" if twice else f"no sale caused {this} at {told.at}"
        self._find("double restock" if twice else "restock too many", self._topics.stockings, told.offset, text)

    def _no_cause(self, letter: tuple[int, int]) -> None:
        of, offset = letter
        text = f"the message at offset {of} is a purchase, was told of before, or is not there"
        self._find("no cause", self._topics.dead_letters, offset, text)

    def _find(self, kind: str, topic: str, offset: int, text: str) -> None:
        self._report.add(Finding(kind, topic, self._partition, offset, text))


def _sale_or_none(value: bytes | None) -> Sale | None:
    try:
        return read_sale(value or b"")
    except UNREADABLE:
        return None


def _wrong(product: Product, sale: Sale) -> str:
    """Return what is wrong with the money of a sale; nothing if it is right to the cent."""
    if sale.price != product.price:
        return f"the price is {sale.price}, that of the product {product.price}"
    if not sale.add_supplements and sale.supplement_price:
        return f"no supplement, at {sale.supplement_price}"
    if not sale.is_member and sale.member_discount:
        return f"no member, with a discount of {sale.member_discount}"
    price, supplement = (cents(Decimal(str(amount))) for amount in (sale.price, sale.supplement_price))
    right = total_cents(sale.quantity, price, supplement, Decimal(str(sale.member_discount))) / 100
    return "" if sale.total_purchase == right else f"the total is {sale.total_purchase}, not {right}"


def _restock_id(product_id: str, number: int) -> str:
    return f"{product_id}-R{number:06d}"


def _sum(told: Told) -> str:
    before, added, after = told.levels
    return f"{before} + {added} = {after}"
