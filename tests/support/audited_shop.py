"""The topics of a small shop as the sales generator and the inventory write them, and their audit without a cluster."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from faust.types import TP

from yasdg_app.audit.account import Deleted, Topics
from yasdg_app.audit.lost_sales import last_lost_sale
from yasdg_app.audit.partition import PartitionAudit, last_sale
from yasdg_app.audit.report import AuditReport
from yasdg_app.audit.substitutions import Substitutions
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import InventoryProjection
from yasdg_app.kafka.reader import Chunk
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.messages.ids import default_partition
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.reference import encode, stocking
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.till import Till

TOPICS = Topics("products", "purchases", "stockings", "lost_sales", "incidents", "dead_letters")
DIVIDED = ("purchases", "lost_sales", "stockings")
Log = list[tuple[bytes, bytes]]  # keys and values in the order of their offsets
Letters = Sequence[Any]


class Stranger(NamedTuple):
    """A message from a producer other than the shop."""

    key: bytes
    value: bytes


class Gone(NamedTuple):
    """An offset of a log whose message was deleted, or that never had one."""

    key: bytes = b""
    value: bytes = b""


@dataclass(frozen=True)
class Logs:
    """The topics of a shop: logs by partition."""

    plan: Plan
    purchases: list[Log]
    lost_sales: list[Log]
    stockings: list[Log]
    table: dict[str, InventoryLevel]

    @property
    def partitions(self) -> int:
        return len(self.purchases)

    def planted(self, topic: str, partition: int, change: Callable[[Log], Log]) -> "Logs":
        """Return the same logs with one of them changed."""
        logs = list(getattr(self, topic))
        logs[partition] = change(logs[partition])
        fields: dict[str, Any] = {topic: logs}
        return replace(self, **fields)

    def rows(self) -> dict[str, dict[str, Any]]:
        return {product_id: level.asdict() for product_id, level in self.table.items()}


def numbered(log: Sequence[tuple[bytes, bytes]], *others: type) -> list[Any]:
    """Return the shop's messages of a log; `others`: those of these kinds instead."""
    return [
        SimpleNamespace(offset=i, key=each[0], value=each[1], headers=[])
        for i, each in enumerate(log)
        if (isinstance(each, others) if others else not isinstance(each, Stranger | Gone))
    ]


def read_chunks(topic: str, partition: int, log: Sequence[tuple[bytes, bytes]], size: int) -> Iterator[Chunk]:
    """Yield a log in chunks, as it is read: so many offsets at a time."""
    own, foreign = numbered(log), numbered(log, Stranger)
    for begin in range(0, len(log), size):
        end = min(begin + size, len(log))
        here, others = ([each for each in some if begin <= each.offset < end] for some in (own, foreign))
        yield Chunk(TopicPartition(topic, partition), begin, end, here, others)


def chunks(records: Sequence[Any], size: int) -> Iterator[Any]:
    return (records[start : start + size] for start in range(0, len(records), size))


def homes_of(plan: Plan, partitions: int) -> dict[str, int]:
    return {product.product_id: default_partition(product.product_id, partitions) for product in plan.products}


def sold(plan: Plan, until: int, partition: int = 0, partitions: int = 1) -> tuple[Log, Log]:
    """Return the purchases and lost sales of a partition."""
    partition_by_product = homes_of(plan, partitions)
    till = Till(plan, [product for product in plan.products if partition_by_product[product.product_id] == partition])
    purchases, lost = PurchaseEncoder(till.products, plan.sales), LostSaleEncoder(till.products, plan.sales)
    logs: tuple[Log, Log] = ([], [])
    while till.products and till.watermark < until:
        served = till.generate_until(until)
        logs[0].extend((key, value) for key, value, _ in purchases.encode(served.sales))
        logs[1].extend((key, value) for key, value, _ in lost.encode(served.lost))
    return logs


def kept(
    plan: Plan, purchases: Log, lost: Log, partition: int = 0, partitions: int = 1, chunk: int = 500
) -> tuple[Log, dict[str, InventoryLevel]]:
    """Return what the inventory publishes for these purchases, and its table."""
    projection = InventoryProjection(PartitionedCatalog.of(plan.products, partitions))
    table: dict[str, InventoryLevel] = {}
    log: Log = []
    for records in chunks(numbered(purchases), chunk):
        applied = projection.apply_sales(TP("purchases", partition), records, table.get, plan.supply)
        table |= {level.product_id: level for level in applied.levels}
        log += [
            (product_id.encode(), encode(stocking(product_id, restock))) for product_id, restock in applied.restocks
        ]
    for records in chunks(numbered(lost), chunk):
        applied = projection.apply_lost_sales(TP("lost_sales", partition), records, table.get, plan.supply)
        table |= {level.product_id: level for level in applied.levels}
    return log, table


def made(plan: Plan, until: int, partitions: int = 1, chunk: int = 500) -> Logs:
    """Return everything that workers write until an event time."""
    tills = [sold(plan, until, partition, partitions) for partition in range(partitions)]
    books = [kept(plan, *logs, partition, partitions, chunk) for partition, logs in enumerate(tills)]
    table = {product_id: level for _, levels in books for product_id, level in levels.items()}
    return Logs(plan, [log for log, _ in tills], [log for _, log in tills], [log for log, _ in books], table)


def audit(
    logs: Logs,
    chunk: int = 500,
    letters: Letters = (),
    table: Mapping[str, Any] | None = None,
    ahead: int | None = None,
) -> AuditReport:
    """Audit a shop as `yasdg audit` does. `ahead`: chunks of the other topics; `letters`: of the first partition."""
    report = AuditReport()
    substitutions = Substitutions(
        TOPICS,
        logs.plan,
        homes_of(logs.plan, logs.partitions),
        report,
        {partition: last_sale(numbered(log)) for partition, log in enumerate(logs.purchases)},
        {partition: last_lost_sale(numbered(log)) for partition, log in enumerate(logs.lost_sales)},
        _since(logs.purchases, last_sale),
        _since(logs.lost_sales, last_lost_sale),
    )
    for partition in range(logs.partitions):
        fold = PartitionAudit(
            TOPICS, partition, logs.plan, logs.partitions, report, table or {}, substitutions,
            {topic: Deleted(number, number) for topic in DIVIDED if (number := _gone(getattr(logs, topic)[partition]))},
        )  # fmt: skip
        _audit_partition(fold, logs, partition, chunk, ahead or chunk, () if partition else letters)
        fold.close()
    for pair in substitutions.mismatches():
        investigator = substitutions.investigator(pair)
        investigator.lost_sales(numbered(logs.lost_sales[investigator.asked]))
        investigator.purchases(numbered(logs.purchases[investigator.taken]))
        investigator.close()
    return report


def _since(logs: list[Log], time_of: Callable[[Sequence[Any]], Any]) -> dict[int, Any]:
    """Return the times of the first messages of the logs whose start was deleted."""
    return {partition: time_of(numbered(log)[:1]) for partition, log in enumerate(logs) if _gone(log)}


def _gone(log: Log) -> int:
    """Return how many messages were deleted at the start of a log."""
    return next((place for place, each in enumerate(log) if not isinstance(each, Gone)), 0)


def _audit_partition(
    fold: PartitionAudit, logs: Logs, partition: int, chunk: int, ahead: int, letters: Letters
) -> None:
    restocks = chunks(numbered(logs.stockings[partition]), ahead)
    lost = read_chunks("lost_sales", partition, logs.lost_sales[partition], ahead)
    copies = chunks(letters, ahead)
    for sold_here in read_chunks("purchases", partition, logs.purchases[partition], chunk):
        read = fold.read(sold_here.messages)
        while fold.wants_restocks(read):
            fold.restocks(next(restocks, []))
        while fold.wants_lost_sales(read):
            fold.lost_sales(next(lost, None))
        fold.purchases(sold_here, read)
        while fold.wants_dead_letters:
            fold.dead_letters(next(copies, []))
    for more in restocks:
        fold.restocks(more)
    for rest in lost:
        fold.lost_sales(rest)
    for more in copies:
        fold.dead_letters(more)


def changed(log: Log, row: int, **fields: Any) -> Log:
    """Return the log with one message changed."""
    key, value = log[row]
    return [*log[:row], (key, json.dumps(json.loads(value) | fields).encode()), *log[row + 1 :]]


def without(log: Log, row: int) -> Log:
    return [*log[:row], *log[row + 1 :]]


def twice(log: Log, row: int, behind: int) -> Log:
    return [*log[:behind], log[row], *log[behind:]]


def message(log: Log, row: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(log[row][1])
    return found


def places(report: AuditReport) -> list[tuple[str, str, int]]:
    return [(finding.kind, finding.topic, finding.offset) for finding in report.findings]


def next_of(log: Log, row: int, step: int = 1) -> int:
    """Return the next message of the same product, or the one before."""
    row += step
    key = log[row - step][0]
    while log[row][0] != key:
        row += step
    return row
