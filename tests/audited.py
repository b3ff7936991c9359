"""The topics of a small shop as tills and the inventory write them, and their audit without a cluster."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from yasdg_app.auditing.account import Topics
from yasdg_app.auditing.lost import last_lost_sale
from yasdg_app.auditing.partition import PartitionAudit, last_sale
from yasdg_app.auditing.report import Report
from yasdg_app.auditing.substitutions import Substitutions
from yasdg_app.messages import InventoryLevel, LostSaleEncoder, PurchaseEncoder, encode, home, stocking
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.till import Till
from yasdg_app.streams.assortment import Assortment
from yasdg_app.streams.books import Books

TOPICS = Topics("products", "purchases", "stockings", "lost_sales", "incidents", "dead_letters")
Log = list[tuple[bytes, bytes]]  # keys and values in the order of their offsets
Letters = Sequence[Any]


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
        """The same with one log changed."""
        logs = list(getattr(self, topic))
        logs[partition] = change(logs[partition])
        fields: dict[str, Any] = {topic: logs}
        return replace(self, **fields)

    def rows(self) -> dict[str, dict[str, Any]]:
        return {product_id: level.asdict() for product_id, level in self.table.items()}


def numbered(log: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    return [SimpleNamespace(offset=i, key=key, value=value, headers=[]) for i, (key, value) in enumerate(log)]


def chunks(records: Sequence[Any], size: int) -> Iterator[Any]:
    return (records[start : start + size] for start in range(0, len(records), size))


def homes_of(plan: Plan, partitions: int) -> dict[str, int]:
    return {product.product_id: home(product.product_id, partitions) for product in plan.products}


def sold(plan: Plan, until: int, partition: int = 0, partitions: int = 1) -> tuple[Log, Log]:
    """The purchases and lost sales of a partition."""
    homes = homes_of(plan, partitions)
    till = Till(plan, [product for product in plan.products if homes[product.product_id] == partition])
    purchases, lost = PurchaseEncoder(till.products, plan.sales), LostSaleEncoder(till.products, plan.sales)
    logs: tuple[Log, Log] = ([], [])
    while till.products and till.through < until:
        served = till.ring_up(until)
        logs[0].extend((key, value) for key, value, _ in purchases.encode(served.sales))
        logs[1].extend((key, value) for key, value, _ in lost.encode(served.lost))
    return logs


def kept(
    plan: Plan, purchases: Log, lost: Log, partition: int = 0, partitions: int = 1, chunk: int = 500
) -> tuple[Log, dict[str, InventoryLevel]]:
    """What the inventory tells of these purchases, and its table."""
    books = Books(Assortment.of(plan.products, partitions))
    table: dict[str, InventoryLevel] = {}
    log: Log = []
    for records in chunks(numbered(purchases), chunk):
        folded = books.fold(TP("purchases", partition), records, table.get, plan.supply)
        table |= {level.product_id: level for level in folded.levels}
        log += [(product_id.encode(), encode(stocking(product_id, restock))) for product_id, restock in folded.restocks]
    for records in chunks(numbered(lost), chunk):
        folded = books.fold_lost(TP("lost_sales", partition), records, table.get, plan.supply)
        table |= {level.product_id: level for level in folded.levels}
    return log, table


def made(plan: Plan, until: int, partitions: int = 1, chunk: int = 500) -> Logs:
    """All that workers write until an event time."""
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
) -> Report:
    """Audit a shop as `yasdg audit` does. `ahead`: of the other topics' chunks; `letters`: of the first partition."""
    report = Report()
    substitutions = Substitutions(
        TOPICS,
        logs.plan,
        homes_of(logs.plan, logs.partitions),
        report,
        {partition: last_sale(numbered(log)) for partition, log in enumerate(logs.purchases)},
        {partition: last_lost_sale(numbered(log)) for partition, log in enumerate(logs.lost_sales)},
    )
    for partition in range(logs.partitions):
        fold = PartitionAudit(TOPICS, partition, logs.plan, logs.partitions, report, table or {}, substitutions)
        _audit_partition(fold, logs, partition, chunk, ahead or chunk, () if partition else letters)
        fold.close()
    for pair in substitutions.odd():
        closer = substitutions.closer(pair)
        closer.lost_sales(numbered(logs.lost_sales[closer.asked]))
        closer.purchases(numbered(logs.purchases[closer.taken]))
        closer.close()
    return report


def _audit_partition(
    fold: PartitionAudit, logs: Logs, partition: int, chunk: int, ahead: int, letters: Letters
) -> None:
    restocks, lost = (chunks(numbered(getattr(logs, topic)[partition]), ahead) for topic in ("stockings", "lost_sales"))
    copies = chunks(letters, ahead)
    for records in chunks(numbered(logs.purchases[partition]), chunk):
        read = fold.read(records)
        while fold.wants_stockings(read):
            fold.stockings(next(restocks, []))
        while fold.wants_lost_sales(read):
            fold.lost_sales(next(lost, []))
        fold.purchases(records, read)
        while fold.wants_letters:
            fold.dead_letters(next(copies, []))
    for rest, take in ((restocks, fold.stockings), (lost, fold.lost_sales), (copies, fold.dead_letters)):
        for more in rest:
            take(more)


def changed(log: Log, row: int, **fields: Any) -> Log:
    """The log with one message changed."""
    key, value = log[row]
    return [*log[:row], (key, json.dumps(json.loads(value) | fields).encode()), *log[row + 1 :]]


def without(log: Log, row: int) -> Log:
    return [*log[:row], *log[row + 1 :]]


def twice(log: Log, row: int, behind: int) -> Log:
    return [*log[:behind], log[row], *log[behind:]]


def message(log: Log, row: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(log[row][1])
    return found


def places(report: Report) -> list[tuple[str, str, int]]:
    return [(finding.kind, finding.topic, finding.offset) for finding in report.findings]


def next_of(log: Log, row: int, step: int = 1) -> int:
    """The next message of the same product, or the one before."""
    row += step
    key = log[row - step][0]
    while log[row][0] != key:
        row += step
    return row
