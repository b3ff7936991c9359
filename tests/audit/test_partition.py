"""The audit finds what is off, each fault once and at its place, and nothing where nothing is."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.audited_shop import (
    TOPICS,
    Letters,
    Log,
    Logs,
    audit,
    changed,
    kept,
    message,
    next_of,
    numbered,
    places,
    read_chunks,
    sold,
    twice,
    without,
)

from yasdg_app.audit.partition import PartitionAudit
from yasdg_app.audit.products_topic import check_products
from yasdg_app.audit.report import AuditReport
from yasdg_app.audit.substitutions import Substitutions
from yasdg_app.config import catalog
from yasdg_app.config.settings import InventorySettings, Settings
from yasdg_app.messages import reference
from yasdg_app.messages.reference import encode
from yasdg_app.shop.plan import Plan

CATALOG = catalog.load(Path(__file__).parents[2] / "products.csv")
OPENED = 1_700_000_000_000_000
HOUR = 3_600_000_000
PLAN = Plan.of(Settings(), CATALOG, OPENED)
PURCHASES, _ = sold(PLAN, OPENED + 2 * HOUR)  # some 3,600
STOCKINGS, TABLE = kept(PLAN, PURCHASES, [])


def nobody(report: AuditReport) -> Substitutions:
    return Substitutions(TOPICS, PLAN, {}, report, {}, {})


def books(
    purchases: Log, stockings: Log, letters: Letters = (), chunk: int = 500, table: dict[str, Any] | None = None
) -> AuditReport:
    return audit(Logs(PLAN, [purchases], [[]], [stockings], {}), chunk, letters, table)


@given(st.integers(1, 4000))
def test_nothing_is_found_in_a_log_that_is_right_whatever_the_chunks(chunk: int) -> None:
    report = books(PURCHASES, STOCKINGS, chunk=chunk)
    assert report.findings == []
    assert report.balanced
    assert (report.purchases, report.stockings) == (len(PURCHASES), len(STOCKINGS))


@given(st.integers(0, len(PURCHASES) - 800))
def test_a_missing_sale_is_found_where_it_should_stand(row: int) -> None:
    behind = next_of(PURCHASES, row) - 1
    missing = message(PURCHASES, row)["transaction_id"]
    found = books(without(PURCHASES, row), STOCKINGS).findings
    assert ("missing sale", "purchases", behind) in places(SimpleNamespace(findings=found))  # type: ignore[arg-type]
    assert any(missing in finding.text for finding in found)
    assert len(found) <= 2  # it may be the one that caused a restock


@given(st.integers(0, len(PURCHASES) - 1), st.data())
def test_a_sale_that_is_there_twice_is_found(row: int, data: st.DataObject) -> None:
    behind = data.draw(st.integers(row + 1, len(PURCHASES)))
    assert places(books(twice(PURCHASES, row, behind), STOCKINGS)) == [("double sale", "purchases", behind)]


@given(st.integers(0, len(PURCHASES) - 1), st.sampled_from([-0.01, 0.01, 1.0]))
def test_a_total_that_is_off_by_a_cent_is_found(row: int, off: float) -> None:
    total = round(message(PURCHASES, row)["total_purchase"] + off, 2)
    found = books(changed(PURCHASES, row, total_purchase=total), STOCKINGS)
    assert places(found) == [("wrong total", "purchases", row)]


@given(st.integers(0, len(STOCKINGS) - 1), st.data())
def test_a_restock_that_is_told_twice_is_found(row: int, data: st.DataObject) -> None:
    behind = data.draw(st.integers(row + 1, len(STOCKINGS)))
    assert places(books(PURCHASES, twice(STOCKINGS, row, behind))) == [("double restock", "stockings", behind)]


@given(st.integers(0, len(STOCKINGS) - 200), st.booleans())
def test_a_restock_that_no_sale_caused_is_found(row: int, at_a_sale: bool) -> None:
    first = message(STOCKINGS, row)
    at = first["event_time"][:-6] + "000000"
    if at_a_sale:  # of the same product, one that did not need it
        sale = next(
            i for i in range(len(PURCHASES)) if message(PURCHASES, i)["transaction_time"] == first["event_time"]
        )
        at = message(PURCHASES, next_of(PURCHASES, sale, -1))["transaction_time"]
    number = int(first["stocking_id"][-6:]) + 1
    planted = first | {"event_time": at, "stocking_id": f"{first['product_id']}-R{number:06d}"}
    log = [*STOCKINGS[:row], (STOCKINGS[row][0], json.dumps(planted).encode()), *STOCKINGS[row:]]
    assert places(books(PURCHASES, log)) == [("restock too many", "stockings", row)]


@given(st.integers(0, len(STOCKINGS) - 1))
def test_a_missing_restock_is_found_at_the_sale_that_caused_it(row: int) -> None:
    gone = message(STOCKINGS, row)
    (found,) = books(PURCHASES, without(STOCKINGS, row)).findings
    sale = message(PURCHASES, found.offset)
    assert (found.kind, found.topic) == ("missing restock", "purchases")
    assert (sale["product_id"], sale["transaction_time"]) == (gone["product_id"], gone["event_time"])
    assert gone["stocking_id"] in found.text


@given(st.integers(0, len(STOCKINGS) - 1), st.sampled_from(["existing_level", "new_level", "stock_quantity"]))
def test_a_level_that_is_off_by_one_is_found(row: int, field: str) -> None:
    wrong = {field: message(STOCKINGS, row)[field] + 1}
    assert places(books(PURCHASES, changed(STOCKINGS, row, **wrong))) == [("wrong level", "stockings", row)]


@given(st.integers(0, len(PURCHASES) - 800))
def test_two_sales_that_were_swapped_are_found(row: int) -> None:
    other = next_of(PURCHASES, row)
    log = list(PURCHASES)
    log[row], log[other] = log[other], log[row]
    kinds = [finding.kind for finding in books(log, STOCKINGS).findings]
    assert "out of order" in kinds
    assert "missing sale" not in kinds


def test_a_time_that_goes_back_within_a_product_is_found() -> None:
    row = next_of(PURCHASES, 500)
    report = books(changed(PURCHASES, row, transaction_time="2023-11-14 22:13:20.000001"), STOCKINGS)
    assert ("time goes back", "purchases", row) in places(report)


def test_a_price_or_discount_that_cannot_be_is_found() -> None:
    for fields in ({"price": 1.0}, {"is_member": False, "member_discount": 0.1}, {"supplement_price": 9.0}):
        row = next(i for i in range(900, 2000) if not message(PURCHASES, i)["add_supplements"])
        assert ("wrong total", "purchases", row) in places(books(changed(PURCHASES, row, **fields), STOCKINGS))


def test_a_wrong_key_is_found() -> None:
    log = list(PURCHASES)
    log[7] = (b"XX", log[7][1])
    assert places(books(log, STOCKINGS)) == [("wrong key", "purchases", 7)]


def letter(of: int, offset: int) -> Any:
    return SimpleNamespace(offset=offset, key=b"", value=b"", headers=[("offset", str(of).encode())])


@pytest.mark.parametrize("value", [b"no JSON", b"", b'{"product_id":"XX99"}', json.dumps({"quantity": 0}).encode()])
def test_what_is_no_purchase_has_to_be_among_the_dead_letters_once(value: bytes) -> None:
    log = [*PURCHASES[:5], (b"x", value), *PURCHASES[5:]]
    assert places(books(log, STOCKINGS)) == [("not put aside", "purchases", 5)]
    report = books(log, STOCKINGS, [letter(5, 0)])
    assert (report.findings, report.purchases, report.dead_letters) == ([], len(PURCHASES), 1)
    assert places(books(log, STOCKINGS, [letter(5, 0), letter(5, 1)])) == [("no cause", "dead_letters", 1)]
    assert places(books(log, STOCKINGS, [letter(4, 0), letter(5, 1)])) == [("no cause", "dead_letters", 0)]


def rows(**changes: Any) -> dict[str, Any]:
    table = {product_id: level.asdict() for product_id, level in TABLE.items()}
    return table | {"CS01": table["CS01"] | changes}


def test_the_workers_table_agrees_with_the_log() -> None:
    report = books(PURCHASES, STOCKINGS, table=rows())
    assert (report.findings, report.table_rows) == ([], len(TABLE))


def test_a_table_that_is_behind_the_log_is_compared_where_it_stands() -> None:
    _, behind = kept(PLAN, PURCHASES[:3000], [])
    report = books(PURCHASES, STOCKINGS, table={product_id: level.asdict() for product_id, level in behind.items()})
    assert (report.findings, report.table_rows) == ([], len(behind))


@pytest.mark.parametrize("field", ["level", "sold", "stockings", "restocked", "revenue_cents", "cost_cents", "offset"])
def test_a_table_that_is_off_is_found(field: str) -> None:
    wrong = {field: getattr(TABLE["CS01"], field) + 1}
    (found,) = books(PURCHASES, STOCKINGS, table=rows(**wrong)).findings
    assert found.kind == "table"
    assert field in found.text


def test_a_table_that_is_ahead_of_the_log_is_found() -> None:
    (found,) = books(PURCHASES, STOCKINGS, table=rows(sales=10_000)).findings
    assert (found.kind, "10000 sales in the table" in found.text) == ("table", True)


def test_restocks_that_come_while_the_audit_runs_are_waited_for() -> None:
    report = AuditReport()
    fold = PartitionAudit(TOPICS, 0, PLAN, 1, report, {}, nobody(report))
    late = numbered(STOCKINGS)
    fold.restocks(late[:-3])
    fold.restocks([])
    fold.lost_sales(None)
    fold.dead_letters([])
    (records,) = read_chunks("purchases", 0, PURCHASES, len(PURCHASES))
    fold.purchases(records, fold.read(records.messages))
    assert fold.expects_more
    fold.late_restocks(late[-3:])
    assert not fold.expects_more
    fold.close()
    assert report.balanced


def test_memory_does_not_grow_with_the_number_of_findings() -> None:
    wrong: Callable[[bytes], bytes] = lambda value: value.replace(b'"total_purchase":', b'"total_purchase":1')  # noqa: E731
    report = books([(key, wrong(value)) for key, value in PURCHASES], STOCKINGS)
    assert report.kinds == {"wrong total": len(PURCHASES)}
    assert len(report.findings) == 1000
    assert json.dumps(report.as_json())


def test_one_restock_with_a_time_far_ahead_does_not_hide_the_others() -> None:
    report = books(PURCHASES, changed(STOCKINGS, 20, event_time="2099-01-01 00:00:00.000000"), chunk=50)
    assert report.kinds == {"wrong time": 1}


def test_a_purchase_with_a_time_zone_is_no_purchase() -> None:
    log = [*PURCHASES[:499], (PURCHASES[499][0], PURCHASES[499][1].replace(b'","product_id"', b'Z","product_id"'))]
    report = books([*log, *PURCHASES[499:]], STOCKINGS, [letter(499, 0)], chunk=100)
    assert (report.findings, report.purchases) == ([], len(PURCHASES))


def told(*values: bytes) -> tuple[int, list[str]]:
    report = AuditReport()
    check_products(numbered([(b"CS01", value) for value in values]), "products", report)
    return report.products, [finding.kind for finding in report.findings]


def test_a_product_that_is_told_twice_is_found_and_one_that_gained_a_field_is_not() -> None:
    product = encode(reference.product(CATALOG[0]))
    assert told(product) == (1, [])
    assert told(product, product) == (1, ["double product"])
    assert told(product, product.replace(b"}", b',"new":1}')) == (1, [])
    assert told(product, product.replace(b"4.99", b"5.99")) == (1, ["changed product"])


def test_a_log_without_restocks_takes_no_memory_for_each() -> None:
    report = AuditReport()
    plan = Plan.of(Settings(inventory=InventorySettings(75, 2)), CATALOG, OPENED)
    fold = PartitionAudit(TOPICS, 0, plan, 1, report, {}, nobody(report))
    fold.restocks([])
    fold.lost_sales(None)
    fold.dead_letters([])
    log = sold(PLAN, OPENED + 24 * HOUR)[0]
    (records,) = read_chunks("purchases", 0, log, len(log))
    fold.purchases(records, fold.read(records.messages))
    assert max(len(account.restocks.expected) for account in fold._accounts.values()) == 1000
    assert report.kinds["missing restock"] > 0


def test_products_have_to_be_told_of_as_the_catalog_has_them() -> None:
    values = [encode(reference.product(product)) for product in CATALOG[:3]]
    report = AuditReport()
    changed = values[1].replace(b'"inventory":', b'"inventory":1')
    check_products(numbered([(b"", value) for value in (values[0], changed)]), "products", report, CATALOG[:3])
    assert [finding.kind for finding in report.findings] == ["changed product", "missing product"]
