"""What a flawed network has to deliver of sales, made the plain way: all of them at once, one after the other."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.messages.reference import encode, fault
from yasdg_app.messages.times import event_time
from yasdg_app.shop.faults import CORRUPT, DROPPED, DUPLICATE, KINDS, NONE, Faults


def flawed(faults: Faults, purchases: Iterable[Any], until: int) -> tuple[list[ProducerRecord], list[ProducerRecord]]:
    """The messages that arrive in a partition up to an event time, and the faults; `purchases`: its sales."""
    dirty: list[tuple[tuple[int, str, int, int], ProducerRecord]] = []
    told: list[tuple[tuple[int, str, int, int], ProducerRecord]] = []
    for purchase in purchases:
        sale = json.loads(purchase.value)
        at, product_id = event_time(sale["transaction_time"]), sale["product_id"]
        number = int(sale["transaction_id"].rpartition("-")[2])
        key = faults.keys([product_id])
        drawn = faults.of_rows(key, np.array([number]))
        kind, arrives = int(drawn.kinds[0]), at + int(drawn.delays[0])
        if arrives > until:
            continue
        fault_id = f"{product_id}-F{number:06d}"
        labels = [("yasdg-fault", KINDS[kind].encode()), ("yasdg-fault-id", fault_id.encode())]
        value, place = purchase.value, (arrives, product_id, number)
        if kind == CORRUPT:
            value = faults.damaged(int(key[0]), number, value)
            labels.append(("yasdg-transaction-time", sale["transaction_time"].encode()))
        if kind in (NONE, DUPLICATE):
            dirty.append(((*place, 0), ProducerRecord(purchase.key, value, purchase.timestamp, [])))
        if kind not in (NONE, DROPPED):
            dirty.append(((*place, 1), ProducerRecord(purchase.key, value, purchase.timestamp, labels)))
        if kind != NONE:
            one = fault(at, product_id, number, KINDS[kind], None if kind == DROPPED else arrives)
            told.append(((*place, 0), ProducerRecord(purchase.key, encode(one), arrives // 1000, [])))
    return [row for _, row in sorted(dirty)], [row for _, row in sorted(told)]


def rows(messages: Iterable[Any]) -> list[ProducerRecord]:
    """Messages in the form of `flawed`."""
    return [ProducerRecord(each.key, each.value, each.timestamp, [*map(tuple, each.headers)]) for each in messages]
