"""What a worker that takes over learns from the logs, whatever their format."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forms
import numpy as np
import pytest
from faust.types import TP

from yasdg_app import catalog
from yasdg_app.messages import encode_stocking
from yasdg_app.settings import KafkaSettings
from yasdg_app.shop.shelf import Stocking
from yasdg_app.streams.assortment import Assortment
from yasdg_app.streams.takeover import read_told

PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
KAFKA = KafkaSettings(partitions=1)
NOBODYS = b"nobody's"


class Logs:
    """The logs of one partition, and a reader of them."""

    def __init__(self, stockings: list[bytes]) -> None:
        self._values = {TP(KAFKA.topic_stockings, 0): stockings}

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: len(self._values.get(tp, ())) for tp in tps}

    async def read(self, starts: Mapping[TP, int]) -> dict[TP, list[Any]]:
        return {tp: forms.messages(self._values.get(tp, [])[start:]) for tp, start in starts.items()}


@pytest.mark.parametrize("name", forms.NAMES)
def test_restocks_that_were_told_before_the_table_knew_are_heard_of(name: str) -> None:
    form = forms.form_named(name)
    restocks = [(its, number) for number in (1, 2, 3) for its in ("CS01", "SF02")]
    told = [form.write("stockings", encode_stocking(its, Stocking(number, 10**15, 9, 15))) for its, number in restocks]
    table: Any = SimpleNamespace(
        # The table has the first two of one product, and stands behind them.
        rows_of=lambda partition: SimpleNamespace(column=lambda field: np.array([2] if field == "stockings" else [-1])),
        level_of=lambda its: SimpleNamespace(stockings=2) if its == "CS01" else None,
        assortment=Assortment.of(PRODUCTS, 1),
    )
    reader: Any = Logs([NOBODYS, *told])
    heard = asyncio.run(read_told(reader, KAFKA, table, [0], form))[0]
    assert (heard.ahead, heard.stockings) == ({"CS01": 3, "SF02": 3}, 6)
