"""Checks that the products topic contains the catalog."""

from collections.abc import Iterable, Sequence

from yasdg_app.audit.audited_messages import AuditedProduct, read_product
from yasdg_app.audit.report import AuditFinding, AuditReport
from yasdg_app.config import catalog
from yasdg_app.kafka.decoding import UNREADABLE, reason_of
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.reference import amount


def check_products(
    records: Iterable[Message], topic: str, report: AuditReport, products: Sequence[catalog.Product] = ()
) -> None:
    """Check that the products topic contains each product of the catalog once, with the catalog's values.

    If other producers have written to the topic, a product may occur again: the shop publishes it again after a foreign
    message.
    """
    may_repeat = report.foreign_in(topic).count > 0
    published: dict[str, AuditedProduct] = {}
    values: dict[str, bytes | None] = {}
    offset = 0
    for record in records:
        offset = record.offset
        try:
            product = read_product(record.value or b"")
        except UNREADABLE as error:
            report.add(AuditFinding("unreadable", topic, 0, offset, reason_of(error)))
            continue
        product_id, before = product.product_id, published.get(product.product_id)
        if may_repeat and product == before:
            continue
        if before is not None and product != before:
            text = f"{product_id} was published before with other values"
            report.add(AuditFinding("changed product", topic, 0, offset, text))
        elif before is not None and record.value == values[product_id]:
            report.add(AuditFinding("double product", topic, 0, offset, f"{product_id} was published before"))
        values[product_id] = record.value
        published[product_id] = product
    report.products = len(published)
    for each in products:
        product_id, found = each.product_id, published.get(each.product_id)
        cost = None if each.cost_cents is None else amount(each.cost_cents)
        expected = AuditedProduct(product_id, amount(each.price_cents), each.inventory, cost)
        if found is None:
            text = f"{product_id} is in the catalog, but not on the topic"
            report.add(AuditFinding("missing product", topic, 0, offset, text))
        elif found != expected:
            text = f"{product_id} differs from the catalog: {found}, expected {expected}"
            report.add(AuditFinding("changed product", topic, 0, offset, text))
