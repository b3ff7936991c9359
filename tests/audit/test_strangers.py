"""The audit beside strangers: their messages are named and ignored, and nothing that a message holds ends it."""

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
from support.audited_shop import (
    DIVIDED,
    TOPICS,
    Gone,
    Logs,
    Stranger,
    audit,
    changed,
    homes_of,
    made,
    message,
    places,
    read_chunks,
    without,
)
from support.properties import examples
from support.small_shops import HOUR, OPENED, PRODUCTS

from yasdg_app.audit.account import Deleted
from yasdg_app.audit.dead_letters import FOREIGN, DeadLetterAudit
from yasdg_app.audit.incident_events import check_incidents
from yasdg_app.audit.partition import PartitionAudit
from yasdg_app.audit.products_topic import check_products
from yasdg_app.audit.report import MAX_TEXT_CHARACTERS, AuditFinding, AuditReport, ForeignMessages
from yasdg_app.audit.substitutions import Substitutions
from yasdg_app.config.settings import IncidentSettings, InventorySettings, SalesSettings, Settings, SupplierSettings
from yasdg_app.messages.reference import announcement, encode
from yasdg_app.shop.plan import Plan

LIVELY = Settings(
    sales=SalesSettings(min_sale_freq=0, max_sale_freq=40, substitution_freq=6),
    inventory=InventorySettings(5, 20),
    supply=SupplierSettings(
        lead_time=(timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60)), partial_freq=5
    ),
    incidents=(
        IncidentSettings("blink", "power_outage", every=timedelta(hours=5), duration=timedelta(minutes=10), factor=0.1),
        IncidentSettings("off", "promotion", every=timedelta(hours=7), duration=timedelta(hours=1),
                         discount=Decimal("0.1")),
    ),
)  # fmt: skip
PLAN = Plan.of(LIVELY, PRODUCTS, OPENED)
SHOP = made(PLAN, OPENED + 8 * HOUR)
SOLD, LOST, CAME = SHOP.purchases[0], SHOP.lost_sales[0], SHOP.stockings[0]
JUNK = [b"", b"no JSON", b'{"a":' * 5_000, b"[" * 100_000, b"\xff", b"null", b'{"product_id":"XX"}']
few = settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])


def letters(*offsets: tuple[str, int]) -> list[Any]:
    """Dead letters of these messages."""
    return [
        SimpleNamespace(offset=row, key=b"", value=b"", headers=[("topic", topic.encode()), ("offset", b"%d" % of)])
        for row, (topic, of) in enumerate(offsets)
    ]


# --- Whose message it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["purchases", "lost_sales"])
@pytest.mark.parametrize("number", [1, 40, 999_999])
def test_what_a_stranger_wrote_has_to_be_put_aside_however_much_it_is_like_a_sale(topic: str, number: int) -> None:
    key, value = getattr(SHOP, topic)[0][50]
    end = value.rindex(b"-") + (2 if topic == "lost_sales" else 1)
    theirs = Stranger(key, value[:end] + b"%06d" % number + value[end + 6 :])
    planted = SHOP.planted(topic, 0, lambda log: [*log[:50], theirs, *log[50:]])
    (found,) = audit(planted, chunk=20).findings
    assert (found.kind, found.topic, found.offset) == ("not put aside", topic, 50)
    assert FOREIGN in found.text
    report = audit(planted, chunk=20, letters=letters((topic, 50)), table=None)
    assert (report.findings, report.foreign[topic].put_aside) == ([], 1)
    assert getattr(report, topic) == len(getattr(SHOP, topic)[0])
    assert places(audit(planted, letters=letters((topic, 50), (topic, 50)))) == [("no cause", "dead_letters", 1)]


@few
@given(st.data(), st.integers(1, 600), st.integers(1, 600))
def test_strangers_and_junk_are_put_aside_in_the_order_of_their_offsets(
    data: st.DataObject, chunk: int, ahead: int
) -> None:
    """Whether a message is junk of the shop's or anything of another producer's, and in whatever chunks it is read."""
    planted, odd = SHOP, []
    for topic in ("purchases", "lost_sales"):
        log = list(getattr(SHOP, topic)[0])
        for row in sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=20))):
            key, value = data.draw(st.sampled_from([(b"x", value) for value in JUNK] + log[:3]))
            is_junk = value in JUNK and data.draw(st.booleans())
            log.insert(row, (key, value) if is_junk else Stranger(key, value))
        odd += [(topic, row) for row, each in enumerate(log) if isinstance(each, Stranger) or each[1] in JUNK]
        planted = planted.planted(topic, 0, lambda _, log=log: log)  # type: ignore[misc]
    report = audit(planted, chunk, letters(*odd), ahead=ahead)
    assert report.findings == []
    assert (report.purchases, report.lost_sales) == (len(SOLD), len(LOST))
    if odd:
        left = data.draw(st.integers(0, len(odd) - 1))
        topic, row = odd[left]
        assert places(audit(planted, chunk, letters(*odd[:left], *odd[left + 1 :]), ahead=ahead)) == [
            ("not put aside", topic, row)
        ]


def test_a_dead_letter_that_comes_while_the_audit_runs_is_that_of_a_stranger_too() -> None:
    report = AuditReport()
    fold = PartitionAudit(TOPICS, 0, PLAN, 1, report, {}, Substitutions(TOPICS, PLAN, {}, report, {}, {}))
    fold.restocks([])
    fold.lost_sales(None)
    fold.dead_letters([])
    (chunk,) = read_chunks("purchases", 0, [Stranger(*SOLD[0]), Stranger(b"", b"")], 10)
    fold.purchases(chunk, fold.read(chunk.messages))
    for of in (0, 1):
        assert fold.expects_more
        fold.late_dead_letters(letters(("purchases", of)))
    assert not fold.expects_more
    fold.close()
    assert (report.findings, report.foreign["purchases"].put_aside) == ([], 2)


def test_a_chunk_without_messages_is_not_the_end_of_a_topic() -> None:
    """As markers of transactions, or others' messages, make it."""
    planted = SHOP.planted("lost_sales", 0, lambda log: [*log[:9], *[Gone()] * 30, *log[9:]])
    planted = planted.planted("purchases", 0, lambda log: [*log[:9], *[Gone()] * 30, *log[9:], *[Gone()] * 30])
    assert audit(planted, chunk=10, ahead=10).findings == []


def test_the_report_names_foreign_messages_by_topic_and_place() -> None:
    report = AuditReport()
    assert report.as_json()["foreign"] == {}
    report.foreign_in("stockings")
    report.foreign_in("purchases").note(1, [SimpleNamespace(offset=row) for row in range(7)])  # type: ignore[misc]
    assert report.as_json()["foreign"] == {"purchases": 7}
    assert report.balanced
    text = report.foreign["purchases"].places_text
    assert text == "; ".join(f"partition 1, offset {row}" for row in range(5)) + " …"


# --- Whatever it holds ----------------------------------------------------------------------------------------------

CLOCK_EDGES = ["0001-01-01 00:00:00", "1969-12-31 23:59:59", "9999-12-31 23:59:59.999999", "9999-01-01 00:00:00"]
ODD = st.sampled_from(
    [
        *CLOCK_EDGES, "2026-03-26T12:00:00Z", "2026-03-26 12:00:00+14:00", "", "x", "\0\n\x1b[31m", "é" * 400,
        0, -1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, -(10**30), 10**18, 1e15, 1e308, -1e308, 5e-324,
        None, True, [], {}, [[]], "CS01-999999999999999999", "CS01-L000001", "CS01-R999999999999999999",
    ]
)  # fmt: skip
FEW_HOURS = made(
    Plan.of(
        replace(LIVELY, supply=replace(LIVELY.supply, delivery_days=frozenset({0, 2, 4}))), PRODUCTS, OPENED
    ),
    OPENED + 3 * HOUR,
)  # fmt: skip


def odd_value(data: st.DataObject, value: bytes) -> bytes | None:
    """A message with odd fields, or anything else."""
    if data.draw(st.integers(0, 3)) == 0:
        return data.draw(st.sampled_from([*JUNK, None]) | st.binary(max_size=40))
    fields = json.loads(value)
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3)):
        fields[name] = data.draw(ODD)
    return json.dumps(fields).encode()


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_nothing_that_a_message_holds_ends_the_audit(data: st.DataObject) -> None:
    logs: Logs = FEW_HOURS
    for topic in DIVIDED:
        log: list[Any] = list(getattr(logs, topic)[0])
        for row in data.draw(st.lists(st.integers(0, len(log) - 1), max_size=12)):
            key, value = getattr(FEW_HOURS, topic)[0][row]
            log[row] = (data.draw(st.sampled_from([key, None, b"", b"\xff"])), odd_value(data, value))
        logs = logs.planted(topic, 0, lambda _, log=log: log)  # type: ignore[misc]
    copies = data.draw(st.lists(st.tuples(st.sampled_from(["offset", "topic"]), st.none() | st.binary()), max_size=3))
    odd = [SimpleNamespace(offset=row, key=None, value=None, headers=[header]) for row, header in enumerate(copies)]
    table = {key: {**row, "sold": data.draw(ODD), "promised": data.draw(ODD)} for key, row in FEW_HOURS.rows().items()}
    report = audit(logs, data.draw(st.integers(20, 400)), odd, table)
    text = json.dumps(report.as_json(), ensure_ascii=False)
    assert len(text.splitlines()) == 1
    assert all(str(finding).isprintable() for finding in report.findings)


@pytest.mark.parametrize("at", CLOCK_EDGES)
@pytest.mark.parametrize("quantity", [1, 10**6, 10**30])
def test_no_time_and_no_quantity_of_a_sale_ends_the_audit(at: str, quantity: int) -> None:
    for row in (0, 100):
        log = changed(FEW_HOURS.purchases[0], row, transaction_time=at, quantity=quantity)
        assert not audit(FEW_HOURS.planted("purchases", 0, lambda _, log=log: log)).balanced  # type: ignore[misc]


def record(value: bytes | None, offset: int = 0, key: bytes | None = b"") -> Any:
    return SimpleNamespace(offset=offset, key=key, value=value, headers=[], timestamp=0)


@pytest.mark.parametrize("value", [*JUNK, None])
def test_nothing_on_the_topics_of_products_and_incidents_ends_the_audit(value: bytes | None) -> None:
    report = AuditReport()
    check_products([record(value)], "products", report)
    assert report.kinds == {"unreadable": 1}
    for odd in (
        value,
        *(json.dumps({"event_time": at}).encode() for at in (*CLOCK_EDGES, "2026-03-26T12:00:00Z", "x")),
    ):
        report = AuditReport()
        check_incidents([record(odd)], PLAN, "incidents", report)
        assert report.kinds == {"wrong announcement": 1}


def test_findings_are_lines_of_bounded_length() -> None:
    report = AuditReport()
    report.add(AuditFinding("unreadable", "t", 0, 0, "\n\x1b[2J" + "x" * 100_000))
    (found,) = report.findings
    assert len(found.text) < MAX_TEXT_CHARACTERS + 20
    assert found.text.startswith("\\n\\x1b[2Jxxx")


# --- Where a log begins ---------------------------------------------------------------------------------------------


def cut(topic: str, number: int) -> Callable[[Logs], Logs]:
    return lambda logs: logs.planted(topic, 0, lambda log: [*[Gone()] * number, *log[number:]])


@few
@given(st.integers(1, len(SOLD) - 100), st.integers(1, 1_000))
def test_sales_that_were_deleted_at_the_beginning_are_one_finding(number: int, chunk: int) -> None:
    report = audit(cut("purchases", number)(SHOP), chunk, table=SHOP.rows())
    assert places(report) == [("deleted", "purchases", number)]
    assert f"{number} messages of the shop at the beginning, before offset {number}, were deleted" in str(
        report.findings[0]
    )


@few
@given(st.integers(1, len(LOST) - 10), st.integers(1, 1_000))
def test_so_are_lost_sales(number: int, chunk: int) -> None:
    assert places(audit(cut("lost_sales", number)(SHOP), chunk)) == [("deleted", "lost_sales", number)]


@few
@given(st.integers(1, len(CAME) - 10), st.integers(1, 1_000))
def test_so_are_restocks(number: int, chunk: int) -> None:
    report = audit(cut("stockings", number)(SHOP), chunk, table=SHOP.rows())
    assert places(report) == [("deleted", "stockings", number)]


@few
@given(st.data())
def test_so_is_the_beginning_of_all_topics(data: st.DataObject) -> None:
    logs, deleted = SHOP, []
    for topic in DIVIDED:
        number = data.draw(st.integers(1, len(getattr(SHOP, topic)[0]) - 10))
        logs = cut(topic, number)(logs)
        deleted.append(("deleted", topic, number))
    assert sorted(places(audit(logs))) == sorted(deleted)


def test_what_is_off_behind_deleted_sales_is_still_found() -> None:
    row = next(row for row in range(len(SOLD) - 100, len(SOLD)) if not message(SOLD, row)["substituted_from"])
    logs = cut("purchases", 200)(SHOP)
    total = message(SOLD, row)["total_purchase"] + 1
    report = audit(logs.planted("purchases", 0, lambda log: changed(log, row, total_purchase=total)))
    assert report.kinds == {"deleted": 1, "wrong total": 1}
    report = audit(logs.planted("purchases", 0, lambda log: without(log, row)))
    assert report.kinds == {"deleted": 1, "missing sale": 1}


def test_what_is_left_of_the_dead_letters_says_nothing_of_what_was_deleted() -> None:
    found: list[tuple[str, int]] = []
    find: Callable[[str, str, int, str], None] = lambda kind, topic, offset, text: found.append((kind, offset))  # noqa: E731
    of = DeadLetterAudit("purchases", "dead_letters", find, ForeignMessages(), first=10, are_whole=False)
    of.letter(7, 100)  # of a message that was deleted, too
    of.letter(30, 101)
    of.foreign([20, 30, 40])
    of.read_through(50)
    of.close()
    assert found == [("not put aside", 40)]


def test_announcements_before_those_that_are_left_are_passed_over() -> None:
    until = OPENED + 48 * HOUR
    all_of_them = [
        record(encode(announcement(*each)), row, each[2].name.encode())
        for row, each in enumerate(PLAN.incidents.announcements(OPENED, until))
    ]
    assert len(all_of_them) > 4
    report = AuditReport()
    check_incidents(all_of_them[3:], PLAN, "incidents", report, deleted=3)
    assert report.findings == []


def test_a_partition_that_was_not_read_whole_is_left_out_of_the_substitutions() -> None:
    report = AuditReport()
    substitutions = Substitutions(TOPICS, PLAN, homes_of(PLAN, 1), report, {}, {})
    assert substitutions.mismatches() == []
    fold = PartitionAudit(
        TOPICS, 0, PLAN, 1, report, {}, substitutions, {"purchases": Deleted(5, 0), "stockings": Deleted(5, None)}
    )
    fold.restocks([])
    fold.close()
    assert places(report) == [("deleted", "stockings", 5)]
