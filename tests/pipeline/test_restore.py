"""What a worker that takes over learns from the logs, whatever their format."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faust.types import TP
from support import readers
from support.made_logs import PRODUCTS, Logs, batch, empty_table

from yasdg_app.config.settings import KafkaSettings
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.messages.encoders import encode_restock
from yasdg_app.pipeline.restore import read_published_state
from yasdg_app.shop.shelf import Restock

KAFKA = KafkaSettings(partitions=1)
STOCKINGS, LETTERS = TP(KAFKA.topic_stockings, 0), TP(KAFKA.topic_dead_letters, 0)


@pytest.mark.parametrize("name", readers.NAMES)
def test_restocks_that_were_told_before_the_table_knew_are_heard_of(name: str) -> None:
    form = readers.form_named(name)
    restocks = [(its, number) for number in (1, 2, 3) for its in ("CS01", "SF02")]
    told = [form.write("stockings", encode_restock(its, Restock(number, 10**15, 9, 15))) for its, number in restocks]
    foreign = form.write("stockings", encode_restock("SF02", Restock(9, 10**15, 9, 15)))
    table: Any = SimpleNamespace(
        # The table has the first two of one product.
        store_of=lambda partition: SimpleNamespace(
            column=lambda field: np.array([2] if field == "stockings" else [-1])
        ),
        level_of=lambda its: SimpleNamespace(stockings=2) if its == "CS01" else None,
        catalog=PartitionedCatalog.of(PRODUCTS, 1),
    )
    logs = {STOCKINGS: [batch(0, b"junk"), batch(1, *told, number=0), batch(7, foreign), batch(8, b"", is_marker=True)]}
    heard = asyncio.run(read_published_state(Logs(logs), KAFKA, table, [0], form))[0]
    assert (heard.ahead, heard.restocks) == ({"CS01": 3, "SF02": 3}, 6)


@pytest.mark.parametrize("after", [[], [batch(2, b"x")], [batch(2, b"", is_marker=True), batch(3, b"y", b"z")]])
def test_what_was_buried_is_what_the_last_own_letter_says_whatever_comes_after_it(after: list[Any]) -> None:
    headers = [("buried", json.dumps({"purchases": 41}).encode())]
    logs = {LETTERS: [batch(0, b"letter", b"letter", number=0, headers=headers), *after]}
    heard = asyncio.run(read_published_state(Logs(logs), KAFKA, empty_table(), [0], readers.form_named("sql")))[0]
    assert (heard.dead_letters, heard.dead_lettered) == (2, {"purchases": 41})


def emptied(first: int, count: int, number: int) -> SimpleNamespace:
    """A batch of the shop of which compaction has left nothing but its header."""
    made = batch(first, *[b"gone"] * count, number=number)
    made.its = []
    return made


@pytest.mark.parametrize("before", [[], [batch(0, b"kept", number=0)]])
def test_an_empty_batch_says_how_many_were_appended(before: list[Any]) -> None:
    first = len(before)
    logs = Logs({LETTERS: [*before, emptied(first, 3, number=first), batch(first + 3, b"foreign")]})
    message, count = asyncio.run(logs.last(LETTERS))
    assert (message and message.value, count) == (b"kept" if before else None, first + 3)
    assert asyncio.run(logs.count(LETTERS)) == first + 3
    assert asyncio.run(logs.count_before(LETTERS, first + 3)) == first + 3
