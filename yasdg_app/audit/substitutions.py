"""Checks that each purchase of a substitute has its lost sale, and vice versa.

The two may be in different partitions, which are audited one after the other. So for each pair of products only the
count and the sum of the event times are kept; where they differ, the messages of that pair are read a second time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from yasdg_app.audit.account import Topics
from yasdg_app.audit.audited_messages import AuditedLostSale, AuditedSale, read_lost, read_sale
from yasdg_app.audit.event_times import BEGINNING_OF_TIME, micros
from yasdg_app.audit.report import AuditFinding, AuditReport
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.reader import Message
from yasdg_app.shop.plan import Plan

MAX_LOST_SALES_KEPT = 1_000_000  # lost sales of a mismatching pair; with more, only the mismatch is reported
MIXING_FACTOR = 0x9E3779B97F4A7C15  # hashes event times: two wrong ones are very unlikely to cancel out

Pair = tuple[str, str]
"""The product asked for, and the product bought."""


@dataclass(slots=True)
class TopicSum:
    """The substitutions of a pair on one topic."""

    number: int = 0
    sum: int = 0
    offset: int = -1  # of the last one

    def add(self, at: datetime, offset: int) -> None:
        """Count one."""
        self.number += 1
        time = micros(at)
        self.sum = (self.sum + (time ^ time >> 31) * MIXING_FACTOR * (time | 1)) % 2**64
        self.offset = offset


@dataclass(slots=True)
class PairSums:
    """The substitutions of a pair on both topics, in the event time interval in which both topics are known."""

    since: datetime
    until: datetime
    sold: TopicSum = field(default_factory=TopicSum)
    lost: TopicSum = field(default_factory=TopicSum)

    def spans(self, at: datetime) -> bool:
        """Return whether both topics are known at an event time."""
        return self.since < at < self.until


class Substitutions:
    """The substitutions of a whole shop.

    Parameters
    ----------
    partition_by_product
        The partition of each product, by id.
    sold_until, lost_until
        Event time of the last purchase and of the last lost sale, for each partition that has any.
    sold_since, lost_since
        Event time of the first remaining one, for each partition in which earlier ones were deleted.
    """

    def __init__(
        self,
        topics: Topics,
        plan: Plan,
        partition_by_product: Mapping[str, int],
        report: AuditReport,
        sold_until: Mapping[int, datetime],
        lost_until: Mapping[int, datetime],
        sold_since: Mapping[int, datetime] | None = None,
        lost_since: Mapping[int, datetime] | None = None,
    ) -> None:
        self._topics = topics
        self._substitutes = plan.substitutes
        self._partition_by_product = partition_by_product
        self._report = report
        self._sold_until = sold_until
        self._lost_until = lost_until
        self._sold_since = sold_since or {}
        self._lost_since = lost_since or {}
        self._left_out: set[int] = set()
        self._pairs: dict[Pair, PairSums] = {}

    def sold(self, asked: str, sale: AuditedSale, offset: int) -> bool:
        """Record the purchase of a substitute; return False if the two products are not substitutes."""
        sums = self._sums((asked, sale.product_id))
        if sums is not None and sums.spans(sale.transaction_time):
            sums.sold.add(sale.transaction_time, offset)
        return sums is not None

    def lost(self, lost: AuditedLostSale, taken: str, offset: int) -> bool:
        """Record a lost sale whose customer bought a substitute; return False if the products are not substitutes."""
        sums = self._sums((lost.product_id, taken))
        if sums is not None and sums.spans(lost.event_time):
            sums.lost.add(lost.event_time, offset)
        return sums is not None

    def leave_out(self, partition: int) -> None:
        """Compare no pair that involves this partition: it was not read completely."""
        self._left_out.add(partition)

    def mismatches(self) -> list[Pair]:
        """Return the pairs for which the topics differ."""
        return [
            pair
            for pair, sums in self._pairs.items()
            if (sums.sold.number, sums.sold.sum) != (sums.lost.number, sums.lost.sum)
            and self._left_out.isdisjoint(self._partition_by_product[product_id] for product_id in pair)
        ]

    def investigator(self, pair: Pair) -> "MismatchInvestigator":
        """Return the investigator of a pair."""
        return MismatchInvestigator(self._topics, self._partition_by_product, self._report, pair, self._pairs[pair])

    def _sums(self, pair: Pair) -> PairSums | None:
        sums = self._pairs.get(pair)
        if sums is None and any(other.product_id == pair[1] for other in self._substitutes.get(pair[0], ())):
            asked, taken = (self._partition_by_product[product_id] for product_id in pair)
            # Workers publish lost sales before the purchases that follow them.
            lost = max(self._lost_until.get(asked, BEGINNING_OF_TIME), self._sold_until.get(asked, BEGINNING_OF_TIME))
            since = max(self._lost_since.get(asked, BEGINNING_OF_TIME), self._sold_since.get(taken, BEGINNING_OF_TIME))
            sums = self._pairs[pair] = PairSums(since, min(lost, self._sold_until.get(taken, BEGINNING_OF_TIME)))
        return sums


class MismatchInvestigator:
    """Reads the messages of a pair of products a second time to find the ones that do not match.

    Call `lost_sales` with those of the partition `asked`, `purchases` with those of `taken`, then `close`.
    """

    def __init__(
        self, topics: Topics, partition_by_product: Mapping[str, int], report: AuditReport, pair: Pair, sums: PairSums
    ) -> None:
        self._topics = topics
        self._report = report
        self._pair = pair
        self._sums = sums
        self.asked, self.taken = (partition_by_product[product_id] for product_id in pair)
        self._offsets: dict[datetime, int] = {}
        self._found = 0

    def lost_sales(self, records: Iterable[Message]) -> None:
        """Process all lost sales of the partition, one chunk per call."""
        for record in records:
            lost = decoded_or_none(read_lost, record.value)
            if lost is None:
                continue
            if (lost.product_id, lost.substitute) == self._pair and self._known(lost.event_time):
                if lost.event_time in self._offsets:
                    self._no_purchase(record.offset, lost.event_time)
                elif len(self._offsets) < MAX_LOST_SALES_KEPT:
                    self._offsets[lost.event_time] = record.offset

    def purchases(self, records: Iterable[Message]) -> None:
        """Process all purchases of the partition, one chunk per call."""
        for record in records:
            sale = decoded_or_none(read_sale, record.value)
            if sale is None:
                continue
            at = sale.transaction_time
            if (sale.substituted_from, sale.product_id) != self._pair or not self._known(at):
                continue
            if self._offsets.pop(at, None) is None and self._sums.lost.number < MAX_LOST_SALES_KEPT:
                self._no_lost_sale(record.offset, at)

    def close(self) -> None:
        """Report the unmatched messages."""
        for at, offset in self._offsets.items():
            self._no_purchase(offset, at)
        if not self._found:
            self._no_lost_sale(self._sums.sold.offset, self._sums.until)

    def _known(self, at: datetime) -> bool:
        return at.tzinfo is None and self._sums.spans(at)

    def _no_lost_sale(self, offset: int, at: datetime) -> None:
        asked, taken = self._pair
        text = f"{taken} was sold in place of {asked} at {at}; expected that lost sale on {self._topics.lost_sales}"
        self._add("not lost before", self._topics.purchases, self.taken, offset, text)

    def _no_purchase(self, offset: int, at: datetime) -> None:
        asked, taken = self._pair
        text = f"the customer of {asked} at {at} bought {taken}; expected that sale on {self._topics.purchases}"
        self._add("not bought instead", self._topics.lost_sales, self.asked, offset, text)

    def _add(self, kind: str, topic: str, partition: int, offset: int, text: str) -> None:
        self._found += 1
        self._report.add(AuditFinding(kind, topic, partition, offset, text))
