"""The audit of shops with a life: lead times, hours, promotions, incidents, customers who take something else."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.audited_shop import Log, audit, changed, kept, made, message, next_of, numbered, places, twice, without
from support.properties import examples
from support.small_shops import DAY, HOUR, MINUTE, OPENED, PRODUCTS, World, wall, worlds

from yasdg_app.audit.incident_events import check_incidents
from yasdg_app.audit.report import AuditReport
from yasdg_app.config.settings import (
    HoursSettings,
    IncidentSettings,
    InventorySettings,
    SalesSettings,
    Settings,
    SupplierSettings,
)
from yasdg_app.messages.reference import announcement, encode
from yasdg_app.messages.times import event_time, time_text
from yasdg_app.shop.plan import Gap, Plan

LIVELY = Settings(
    sales=SalesSettings(min_sale_freq=0, max_sale_freq=40, substitution_freq=6),
    inventory=InventorySettings(5, 20),
    hours=HoursSettings(week=(((480, 1320),),) * 7),
    supply=SupplierSettings(
        lead_time=(timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60)), partial_freq=5
    ),
    incidents=(
        IncidentSettings("off", "promotion", start=wall(OPENED // MINUTE * MINUTE + 60 * MINUTE),
                         duration=timedelta(hours=2), factor=1.5, discount=Decimal("0.1")),
        IncidentSettings("strike", "supply", start=wall(OPENED // MINUTE * MINUTE + 240 * MINUTE),
                         duration=timedelta(minutes=45), factor=0.0),
        IncidentSettings("blink", "power_outage", every=timedelta(hours=5), duration=timedelta(minutes=10), factor=0.1),
    ),
)  # fmt: skip
PLAN = Plan.of(LIVELY, PRODUCTS, OPENED)
SHOP = made(PLAN, OPENED + 30 * HOUR, partitions=2)  # of 4 products, and of 2
HOME = 0 if len(SHOP.purchases[0]) > len(SHOP.purchases[1]) else 1
BOUGHT, LOST, CAME = SHOP.purchases[HOME], SHOP.lost_sales[HOME], SHOP.stockings[HOME]


def rows(log: Log, where: Callable[[dict[str, Any]], bool] = lambda _: True, apart: int = 50) -> list[int]:
    """Rows of messages that are like this, apart from the first and the last ones."""
    return [row for row in range(apart, len(log) - apart) if where(message(log, row))]


def planted(topic: str, change: Callable[[Log], Log]) -> AuditReport:
    return audit(SHOP.planted(topic, HOME, change))


def found(report: AuditReport) -> list[tuple[str, str, int, int]]:
    return [(one.kind, one.topic, one.partition, one.offset) for one in report.findings]


few = settings(max_examples=examples(25))  # of which each audits the shop


# --- Nothing where nothing is ---------------------------------------------------------------------------------------


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.integers(1, 3), st.integers(1, 700), st.integers(1, 700))
def test_the_books_of_any_shop_balance(world: World, partitions: int, chunk: int, ahead: int) -> None:
    logs = made(world.plan, world.until, partitions, chunk)
    report = audit(logs, chunk, table=logs.rows(), ahead=ahead)
    assert report.findings == []
    assert report.table_rows == sum(row.sales > 0 for row in logs.table.values())
    assert (report.purchases, report.stockings, report.lost_sales) == tuple(
        sum(map(len, topic)) for topic in (logs.purchases, logs.stockings, logs.lost_sales)
    )


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(worlds(substitution=st.sampled_from([5, 10])), st.integers(1, 3), st.data())
def test_the_books_of_any_shop_balance_while_workers_run(world: World, partitions: int, data: st.DataObject) -> None:
    """Of each partition workers have written a different part, lost sales as far as the purchases and maybe further."""
    logs = made(world.plan, world.until, partitions)
    for partition in range(partitions):
        until = data.draw(st.integers(OPENED, world.until))
        sold = sum(message(logs.purchases[partition], row)["transaction_time"] <= time_text(until)
                   for row in range(len(logs.purchases[partition])))  # fmt: skip
        further = data.draw(st.integers(until, world.until))
        lost = sum(message(logs.lost_sales[partition], row)["event_time"] <= time_text(further)
                   for row in range(len(logs.lost_sales[partition])))  # fmt: skip
        logs = logs.planted("purchases", partition, lambda log, sold=sold: log[:sold])  # type: ignore[misc]
        logs = logs.planted("lost_sales", partition, lambda log, lost=lost: log[:lost])  # type: ignore[misc]
    # What stands in the log of restocks is what those purchases have caused: the inventory comes behind them.
    behind = [kept(logs.plan, logs.purchases[n], logs.lost_sales[n], n, partitions)[0] for n in range(partitions)]
    assert audit(replace(logs, stockings=behind)).findings == []


@few
@given(st.integers(1, 4000), st.integers(1, 4000))
def test_nothing_is_found_whatever_the_chunks(chunk: int, ahead: int) -> None:
    report = audit(SHOP, chunk, table=SHOP.rows(), ahead=ahead)
    assert report.findings == []
    assert report.lost_units > 0
    assert report.substituted_units > 0
    assert report.lost_units == sum(level.lost for level in SHOP.table.values())
    assert report.lost_cents == sum(level.lost_cents for level in SHOP.table.values())
    assert report.substituted_units == sum(level.substituted for level in SHOP.table.values())
    assert json.loads(json.dumps(report.as_json()))["lost_sales"] == sum(map(len, SHOP.lost_sales))


# --- Lost sales -----------------------------------------------------------------------------------------------------


@few
@given(st.sampled_from(rows(LOST, lambda lost: lost["substitute"] is None)))
def test_a_missing_lost_sale_is_found(row: int) -> None:
    place = next_of(LOST, row) - 1
    assert found(planted("lost_sales", lambda log: without(log, row))) == [
        ("missing lost sale", "lost_sales", HOME, place)
    ]


@few
@given(st.sampled_from(rows(LOST)), st.data())
def test_a_lost_sale_that_is_there_twice_is_found(row: int, data: st.DataObject) -> None:
    behind = data.draw(st.integers(row + 1, len(LOST)))
    assert found(planted("lost_sales", lambda log: twice(log, row, behind))) == [
        ("double lost sale", "lost_sales", HOME, behind)
    ]


@few
@given(st.sampled_from(rows(BOUGHT, lambda sale: sale["quantity"] == 1)))
def test_a_lost_sale_while_there_was_enough_is_found(row: int) -> None:
    """The customer of a sale is said to have been turned away, a microsecond before."""
    sale = message(BOUGHT, row)
    product_id, at = sale["product_id"], time_text(event_time(sale["transaction_time"]) - 1)
    told = [message(LOST, n) for n in range(len(LOST))]
    before = [lost for lost in told if lost["product_id"] == product_id and lost["event_time"] < at]
    template = next(lost for lost in told if lost["product_id"] == product_id)
    number = len(before) + 1
    place = sum(lost["event_time"] < at for lost in told)
    planted_one = template | {
        "event_time": at, "quantity": 1, "value": round(sale["price"] * (1 - sale["promotion_discount"]) + 1e-9, 2),
        "reason": "sold_out", "level": 0, "incident": None, "substitute": None,
        "lost_sale_id": f"{product_id}-L{number:06d}",
    }  # fmt: skip
    log = [*LOST[:place], (product_id.encode(), json.dumps(planted_one).encode())]
    for key, value in LOST[place:]:  # all behind it are numbered one higher
        lost = json.loads(value)
        if lost["product_id"] == product_id:
            lost["lost_sale_id"] = f"{product_id}-L{int(lost['lost_sale_id'][-6:]) + 1:06d}"
        log.append((key, json.dumps(lost).encode()))
    assert found(audit(SHOP.planted("lost_sales", HOME, lambda _: log))) == [
        ("not sold out", "lost_sales", HOME, place)
    ]


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("value", 1.11, "wrong value"),
        ("value", 0.0, "wrong value"),
        ("level", -1, "wrong level"),
        ("promised", "2024-03-09 00:00:00.000000", "wrong promise"),
        ("incident", "strike", "wrong promise"),
        ("reason", "unlucky", "wrong reason"),
        ("event_time", "2024-03-01 10:00:00.000000", "time goes back"),
        ("substitute", "XX02", "wrong substitute"),
        ("quantity", "two", "not put aside"),
        ("quantity", 3, "not put aside"),
        ("reason", 7, "unreadable"),
    ],
)
def test_a_wrong_field_of_a_lost_sale_is_found(field: str, value: Any, kind: str) -> None:
    row = rows(LOST, lambda lost: lost["substitute"] is None and lost["reason"] == "too_few", apart=20)[1]
    assert (kind, "lost_sales", HOME, row) in found(
        planted("lost_sales", lambda log: changed(log, row, **{field: value}))
    )


def test_a_sale_of_more_units_than_the_shop_sells_is_none_of_its() -> None:
    """Even if it is priced as one."""
    row = rows(BOUGHT, lambda sale: sale["quantity"] == 1)[3]
    sale = message(BOUGHT, row)
    three = {
        "quantity": 3,
        "total_purchase": round(3 * sale["total_purchase"], 2),
        "total_cost": 3 * sale["total_cost"],
    }
    report = planted("purchases", lambda log: changed(log, row, **three))
    assert ("not put aside", "purchases", HOME, row) in found(report)
    several = replace(LIVELY, sales=replace(LIVELY.sales, quantities=(8, 1, 1)))
    logs = made(Plan.of(several, PRODUCTS, OPENED), OPENED + 3 * HOUR, partitions=2)
    assert max(message(log, n)["quantity"] for log in logs.purchases for n in range(len(log))) == 3
    assert audit(logs).findings == []


def test_a_lost_sale_with_a_wrong_key_is_found() -> None:
    report = planted("lost_sales", lambda log: [*log[:60], (b"XX", log[60][1]), *log[61:]])
    assert found(report) == [("wrong key", "lost_sales", HOME, 60)]


def test_a_lost_sale_that_is_none_has_to_be_among_the_dead_letters() -> None:
    logs = SHOP.planted("lost_sales", 0, lambda log: [*log[:9], (b"x", b"{}"), *log[9:]])
    assert found(audit(logs)) == [("not put aside", "lost_sales", 0, 9)]
    headers = [("topic", b"lost_sales"), ("offset", b"9")]
    copy = SimpleNamespace(offset=0, key=b"", value=b"{}", headers=headers)
    assert audit(logs, letters=[copy]).findings == []
    again = SimpleNamespace(offset=1, key=b"", value=b"{}", headers=headers)
    assert places(audit(logs, letters=[copy, again])) == [("no cause", "dead_letters", 1)]


# --- Customers who took something else ------------------------------------------------------------------------------


def elsewhere(substituted: dict[str, Any]) -> bool:
    return bool(substituted.get("substitute") or substituted.get("substituted_from"))


@few
@given(st.sampled_from(rows(LOST, elsewhere)))
def test_a_substituted_sale_without_the_lost_sale_is_found(row: int) -> None:
    """Its lost sale is one of somebody who took nothing."""
    lost = message(LOST, row)
    report = planted("lost_sales", lambda log: changed(log, row, substitute=None))
    (one,) = report.findings
    sale = message(SHOP.purchases[one.partition], one.offset)
    assert (one.kind, one.topic) == ("not lost before", "purchases")
    assert (sale["product_id"], sale["substituted_from"], sale["transaction_time"]) == (
        lost["substitute"], lost["product_id"], lost["event_time"],
    )  # fmt: skip


@few
@given(st.sampled_from(rows(BOUGHT, elsewhere)))
def test_a_lost_sale_without_the_purchase_that_it_tells_of_is_found(row: int) -> None:
    sale = message(BOUGHT, row)
    (one,) = planted("purchases", lambda log: changed(log, row, substituted_from=None)).findings
    lost = message(SHOP.lost_sales[one.partition], one.offset)
    assert (one.kind, one.topic) == ("not bought instead", "lost_sales")
    assert (lost["substitute"], lost["product_id"], lost["event_time"]) == (
        sale["product_id"], sale["substituted_from"], sale["transaction_time"],
    )  # fmt: skip


def test_a_substitute_that_does_not_stand_beside_it_is_found() -> None:
    row = rows(BOUGHT, lambda sale: not elsewhere(sale))[3]
    report = planted("purchases", lambda log: changed(log, row, substituted_from="XX01"))
    assert found(report) == [("wrong substitute", "purchases", HOME, row)]


# --- Restocks -------------------------------------------------------------------------------------------------------


@few
@given(st.sampled_from(rows(CAME)), st.integers(1, 10**9))
def test_a_restock_before_its_due_time_is_found(row: int, early: int) -> None:
    due = message(CAME, row)["event_time"]
    at = max(OPENED, event_time(due) - early)
    report = planted("stockings", lambda log: changed(log, row, event_time=time_text(at)))
    assert found(report) == [("wrong time", "stockings", HOME, row)]


@few
@given(st.sampled_from(rows(CAME)), st.integers(1, 10**9))
def test_a_restock_after_its_due_time_is_found(row: int, late: int) -> None:
    due = message(CAME, row)["event_time"]
    report = planted("stockings", lambda log: changed(log, row, event_time=time_text(event_time(due) + late)))
    assert found(report) == [("wrong time", "stockings", HOME, row)]


@few
@given(st.sampled_from(rows(CAME)))
def test_a_missing_restock_is_found_at_the_first_sale_behind_it(row: int) -> None:
    gone = message(CAME, row)
    (one,) = planted("stockings", lambda log: without(log, row)).findings
    place = next(
        n for n in range(len(BOUGHT))
        if message(BOUGHT, n)["product_id"] == gone["product_id"]
        and message(BOUGHT, n)["transaction_time"] >= gone["event_time"]
    )  # fmt: skip
    assert (one.kind, one.topic, one.partition, one.offset) == ("missing restock", "purchases", HOME, place)
    assert gone["stocking_id"] in one.text


@few
@given(st.sampled_from(rows(CAME)), st.data())
def test_a_restock_that_is_told_twice_is_found(row: int, data: st.DataObject) -> None:
    behind = data.draw(st.integers(row + 1, len(CAME)))
    assert found(planted("stockings", lambda log: twice(log, row, behind))) == [
        ("double restock", "stockings", HOME, behind)
    ]


@few
@given(st.sampled_from(rows(CAME)), st.integers(1, 9))
def test_a_restock_with_another_number_is_found(row: int, off: int) -> None:
    number = int(message(CAME, row)["stocking_id"][-6:]) + off
    wrong = f"{message(CAME, row)['product_id']}-R{number:06d}"
    report = planted("stockings", lambda log: changed(log, row, stocking_id=wrong))
    assert found(report) == [("restock number", "stockings", HOME, row)]


@few
@given(st.sampled_from(rows(CAME)), st.sampled_from(["existing_level", "new_level", "stock_quantity"]))
def test_a_level_that_is_off_by_one_is_found(row: int, field: str) -> None:
    wrong = {field: message(CAME, row)[field] + 1}
    assert found(planted("stockings", lambda log: changed(log, row, **wrong))) == [
        ("wrong level", "stockings", HOME, row)
    ]


@few
@given(st.sampled_from(rows(CAME)))
def test_two_restocks_of_a_product_that_were_swapped_are_found(row: int) -> None:
    other = next_of(CAME, row)

    def swap(log: Log) -> Log:
        log = list(log)
        log[row], log[other] = log[other], log[row]
        return log

    assert found(planted("stockings", swap)) == [("out of order", "stockings", HOME, other)]


@few
@given(st.sampled_from(rows(CAME)))
def test_a_restock_that_nothing_was_ordered_for_is_found(row: int) -> None:
    """It has the number of the next one, and stands where the one before it does, a microsecond later."""
    before = message(CAME, row)
    number = int(before["stocking_id"][-6:]) + 1
    more = before | {
        "event_time": time_text(event_time(before["event_time"]) + 1),
        "stocking_id": f"{before['product_id']}-R{number:06d}",
    }
    log = [*CAME[: row + 1], (CAME[row][0], json.dumps(more).encode()), *CAME[row + 1 :]]
    assert found(planted("stockings", lambda _: log)) == [("restock too many", "stockings", HOME, row + 1)]


# --- Purchases ------------------------------------------------------------------------------------------------------


def only_sales(log: Log) -> list[int]:
    return rows(log, lambda sale: not elsewhere(sale))


@few
@given(st.sampled_from(only_sales(BOUGHT)))
def test_a_missing_sale_is_found_and_what_follows_from_it_is_not(row: int) -> None:
    place = next_of(BOUGHT, row) - 1
    assert found(planted("purchases", lambda log: without(log, row))) == [("missing sale", "purchases", HOME, place)]


@few
@given(st.sampled_from(rows(BOUGHT)), st.data())
def test_a_sale_that_is_there_twice_is_found(row: int, data: st.DataObject) -> None:
    behind = data.draw(st.integers(row + 1, len(BOUGHT)))
    assert found(planted("purchases", lambda log: twice(log, row, behind))) == [
        ("double sale", "purchases", HOME, behind)
    ]


@pytest.mark.parametrize(
    ("field", "by", "kind"),
    [
        ("total_purchase", 0.01, "wrong total"),
        ("total_cost", 0.01, "wrong cost"),
        ("promotion_discount", 0.05, "wrong discount"),
        ("promotion_discount", -0.1, "wrong discount"),
        ("member_discount", 0.01, "wrong total"),
    ],
)
def test_money_that_is_off_is_found(field: str, by: float, kind: str) -> None:
    chosen = rows(BOUGHT, lambda sale: bool(sale["promotion_discount"]) == (by == -0.1))
    for row in chosen[:: len(chosen) // 7]:
        wrong = {field: round(message(BOUGHT, row)[field] + by, 4)}
        report = planted("purchases", lambda log: changed(log, row, **wrong))  # noqa: B023
        assert found(report) == [(kind, "purchases", HOME, row)]


def closing(log: Log, field: str) -> list[int]:
    """Rows of the last messages of an evening, of their products."""
    days = [message(log, row)[field][:10] for row in range(len(log))]
    return [row for row in range(len(log) - 1) if days[row] < days[row + 1]]


@pytest.mark.parametrize(("log", "topic", "field"), [(BOUGHT, "purchases", "transaction_time"),
                                                     (LOST, "lost_sales", "event_time")])  # fmt: skip
def test_what_is_told_outside_hours_is_found(log: Log, topic: str, field: str) -> None:
    (row,) = closing(log, field)
    report = planted(topic, lambda log: changed(log, row, **{field: "2024-03-01 22:00:00.000000"}))
    assert ("closed", topic, HOME, row) in found(report)
    report = planted(topic, lambda log: changed(log, row, **{field: "2024-03-01 21:59:59.999999"}))
    assert "closed" not in report.kinds


def test_what_is_told_of_before_the_shop_opened_is_found() -> None:
    assert ("closed", "purchases", HOME, 0) in found(
        planted("purchases", lambda log: changed(log, 0, transaction_time=time_text(OPENED - 1)))
    )


def test_a_sale_in_a_time_that_was_left_out_is_found() -> None:
    row = only_sales(BOUGHT)[500]
    at = event_time(message(BOUGHT, row)["transaction_time"])
    for gap, kinds in ((Gap(at - 1, at), {"closed": 1}), (Gap(at - 2, at - 1), {}), (Gap(at, at + 1), {})):
        logs = replace(SHOP, plan=PLAN.with_control((), [gap]))
        assert audit(logs).kinds == kinds


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.integers(0, 1000), st.integers(0, 1000))
def test_a_shop_that_left_out_time_balances(world: World, after: int, length: int) -> None:
    whole = world.until - OPENED
    gap = Gap(OPENED + whole * after // 2000, OPENED + whole * after // 2000 + whole * length // 2000)
    logs = made(world.plan.with_control((), [gap]), world.until, 2)
    assert audit(logs).findings == []


# --- The table ------------------------------------------------------------------------------------------------------

COLUMNS = (
    "level", "sold", "stockings", "restocked", "revenue_cents", "cost_cents", "margin_cents", "on_order", "lost",
    "lost_cents", "substituted", "lost_offset", "offset",
)  # fmt: skip


@pytest.mark.parametrize("field", [*COLUMNS, "ordered_at", "promised", "last_lost", "last_sale"])
def test_a_table_that_is_off_is_found(field: str) -> None:
    product_id = BOUGHT[0][0].decode()
    row = SHOP.rows()[product_id]
    wrong = row | {field: row[field] + 1 if field in COLUMNS else "2024-03-01 09:00:00.000000"}
    (one,) = audit(SHOP, table={product_id: wrong}).findings
    assert one.kind == "table"
    assert f"{field} is {wrong[field]}" in one.text


def test_a_table_that_is_ahead_of_the_lost_sales_is_found() -> None:
    product_id = LOST[0][0].decode()
    (one,) = audit(SHOP, table={product_id: SHOP.rows()[product_id] | {"lost_sales": 99_999}}).findings
    assert (one.kind, one.topic) == ("table", "lost_sales")


# --- Incidents ------------------------------------------------------------------------------------------------------


def announced(plan: Plan, until: int) -> Log:
    return [
        (incident.name.encode(), encode(announcement(at, phase, incident)))
        for at, phase, incident in plan.incidents.announcements(OPENED, until)
    ]


def checked(log: Log, plan: Plan = PLAN) -> list[tuple[str, int]]:
    report = AuditReport()
    check_incidents(numbered(log), plan, "incidents", report)
    assert report.incidents == len(log)
    return [(one.kind, one.offset) for one in report.findings]


def test_announcements_are_a_beginning_of_what_the_plan_has() -> None:
    log = announced(PLAN, OPENED + 3 * DAY)
    assert len(log) > 10
    for count in range(len(log)):
        assert checked(log[:count]) == []
    assert checked(without(log, 4)) == [("wrong announcement", 4)]
    assert checked(twice(log, 4, 7)) == [("wrong announcement", 7)]
    assert checked(changed(log, 5, factor=7.0)) == [("wrong announcement", 5)]
    assert checked([*log[:3], (b"", b"no JSON"), *log[3:]]) == [("wrong announcement", 3)]
    assert checked([(b"x", log[0][1]), *log[1:]]) == [("wrong announcement", 0)]
    assert checked([log[0]], Plan.of(Settings(), PRODUCTS, OPENED)) == [("wrong announcement", 0)]


def test_the_start_of_an_incident_that_somebody_ended_says_when_it_would_have_ended() -> None:
    start = (OPENED // MINUTE + 90) * MINUTE
    live = next(i for i in PLAN.incidents.between(OPENED, OPENED + DAY) if i.name == "off")
    live = replace(live, name="live", start=start, end=start + HOUR)
    ended, short = replace(live, end=start + MINUTE, planned_end=live.end), replace(live, end=start + MINUTE)
    before, after, otherwise = (PLAN.with_control([incident], ()) for incident in (live, ended, short))
    log = announced(before, start + 1) + announced(after, OPENED + DAY)[len(announced(after, start + 1)) :]
    assert checked(log, after) == []
    assert checked(log, otherwise) != []
