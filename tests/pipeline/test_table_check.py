"""A table is compared with the logs that it was made from, and computed again where that is possible."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from faust.types import TP
from support.made_logs import Logs, batch, row, table_of

from yasdg_app.config.settings import KafkaSettings
from yasdg_app.inventory.projection import InconsistentLogError
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.pipeline.table_check import check_table

KAFKA = KafkaSettings(partitions=1)
PURCHASES, LOST_SALES = TP(KAFKA.topic_purchases, 0), TP(KAFKA.topic_lost_sales, 0)


def checked(table: Any, logs: Mapping[TP, Sequence[Any]], firsts: Mapping[TP, int] | None = None) -> dict[TP, int]:
    return asyncio.run(check_table(Logs(logs, firsts), KAFKA, table, [0]))


SOLD = [batch(0, *[b"sale"] * 4, number=0), batch(4, b"foreign"), batch(5, *[b"sale"] * 3, number=4)]


def test_a_table_that_holds_what_the_log_says_is_kept_and_positions_follow_its_last_sale() -> None:
    table = table_of(row("CS01", 3, 3), row("CS02", 2, 5))  # five sales, the last one at offset 5
    assert checked(table, {PURCHASES: SOLD}) == {PURCHASES: 6, LOST_SALES: 0}
    assert len(table.store_of(0)) == 2


@pytest.mark.parametrize(
    "rows",
    [
        [row("CS02", 2, 5)],  # the other one was taken from the changelog by a foreign record with its key
        [row("CS01", 1, 1), row("CS02", 2, 5)],  # it is an old one
        [row("CS01", 3, 3, lost_sales=2, lost_offset=1), row("CS02", 2, 5)],  # of the lost sales one is missing
    ],
)
def test_a_table_that_lacks_a_row_is_computed_again_from_logs_that_are_whole(rows: list[InventoryLevel]) -> None:
    table = table_of(*rows)
    logs = {PURCHASES: SOLD, LOST_SALES: [batch(0, b"lost", number=0), batch(1, b"lost", b"lost", number=1)]}
    if rows[0].lost_sales:
        logs[LOST_SALES] = [batch(0, b"lost", number=0), batch(1, b"lost", number=3)]
    assert checked(table, logs) == {PURCHASES: 0, LOST_SALES: 0}
    assert len(table.store_of(0)) == 0


def test_a_table_that_lacks_a_row_is_not_guessed_where_the_log_is_not_whole() -> None:
    table = table_of(row("CS02", 2, 5))
    with pytest.raises(InconsistentLogError, match=r"cannot be computed again.*application_id"):
        checked(table, {PURCHASES: SOLD}, {PURCHASES: 2})
    assert len(table.store_of(0)) == 1


def test_a_log_that_was_cut_behind_the_table_is_gone_on_with() -> None:
    table = table_of(row("CS01", 3, 3), row("CS02", 1, 2))
    assert checked(table, {PURCHASES: SOLD}, {PURCHASES: 5}) == {PURCHASES: 5, LOST_SALES: 0}


def test_a_log_that_was_cut_before_the_table_had_seen_it_stops_the_worker() -> None:
    with pytest.raises(InconsistentLogError, match=r"begins at offset 5, .* up to 2 only.*application_id"):
        checked(table_of(row("CS01", 2, 1)), {PURCHASES: SOLD}, {PURCHASES: 5})


def test_a_log_that_is_shorter_than_the_table_stops_the_worker() -> None:
    with pytest.raises(InconsistentLogError, match=r"ends at offset 8, .* up to offset 10.*application_id"):
        checked(table_of(row("CS01", 9, 9)), {PURCHASES: SOLD})
