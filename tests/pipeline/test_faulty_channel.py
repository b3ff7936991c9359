"""A flawed channel delivers the same, however many sales go in at a time, and wherever it was begun anew."""

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.faulty_channel import flawed, rows
from support.properties import examples
from support.small_shops import World, encoded, worlds

from yasdg_app.config.settings import FaultSettings
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.messages.encoders import encode_fault
from yasdg_app.messages.reference import encode, fault
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.faulty_channel import START, FaultyChannel, cursor_of_delivered, cursor_of_fault
from yasdg_app.shop.faults import KINDS, Faults

STEPS = st.sampled_from([1, 30_000_000])  # microseconds


@st.composite
def faults(draw: st.DrawFn, length: int) -> Faults:
    shares = draw(st.lists(st.integers(0, 20), min_size=5, max_size=5))
    shortest, longest = sorted(draw(st.tuples(*(st.integers(1, max(length // 2, 2)),) * 2)))
    configured = FaultSettings(
        *(Decimal(share) / 100 for share in shares),
        late_by=(timedelta(microseconds=shortest), timedelta(microseconds=longest)),
        out_of_order_by=timedelta(microseconds=draw(st.integers(1, max(length // 5, 1)))),
    )
    return Faults.of(configured, draw(st.integers(0, 2**64 - 1)))


def log(world: World, step: int) -> list[Any]:
    """A log whose times are rounded off to a step: of 1, or so long that many sales are of the same time."""
    till, told = world.till(), world.whole()
    values, _ = encoded(till, told)
    messages = []
    for offset, (sale, value) in enumerate(zip(told.sales, values, strict=True)):
        at = sale.at // step * step
        value = value.replace(time_text(sale.at).encode(), time_text(at).encode(), 1)
        message = {"offset": offset, "key": sale.product_id.encode(), "value": value, "timestamp": at // 1000}
        messages.append(SimpleNamespace(**message, at=at, headers=[]))
    return messages


def as_messages(out: list[ProducerRecord]) -> list[Any]:
    return [SimpleNamespace(**row._asdict()) for row in out]


@settings(max_examples=examples(40))
@given(worlds(), st.data())
def test_it_delivers_what_the_sales_alone_say_in_pieces_of_any_size(world: World, data: st.DataObject) -> None:
    shop, purchases = data.draw(faults(world.until - world.plan.opened_at)), log(world, data.draw(STEPS))
    expected_dirty, expected_told = flawed(shop, purchases, world.until)
    channel, told, dirty = FaultyChannel(shop), list[ProducerRecord](), list[ProducerRecord]()
    cuts = data.draw(st.lists(st.integers(0, len(purchases)), max_size=6).map(sorted))
    for start, end in zip([0, *cuts], [*cuts, len(purchases)], strict=True):
        channel.take(purchases[start:end])
        if end:
            assert channel.seen == purchases[end - 1].at
        new_told, new_dirty = channel.arrived(channel.seen)
        told, dirty = told + new_told, dirty + new_dirty
    new_told, new_dirty = channel.arrived(world.until + 1)
    assert rows(as_messages(dirty + new_dirty)) == expected_dirty
    assert rows(as_messages(told + new_told)) == expected_told


@settings(max_examples=examples(60))
@given(worlds(), st.data())
def test_it_goes_on_where_the_last_messages_of_its_logs_say(world: World, data: st.DataObject) -> None:
    """Also if it died when it had told of faults and delivered only some, or none, of what had them."""
    shop, purchases = data.draw(faults(world.until - world.plan.opened_at)), log(world, data.draw(STEPS))
    dirty, told = flawed(shop, purchases, world.until)
    died = data.draw(st.integers(0, len(dirty)))
    reached = cursor_of_delivered(as_messages(dirty)[died - 1], shop) if died else START
    places = [cursor_of_fault(each) for each in as_messages(told)]
    least = sum(place <= reached for place in places)
    ahead = data.draw(st.integers(least, min(least + 5, len(told))))
    begins = max(0, reached.released_at - shop.longest) // 1000
    channel = FaultyChannel(shop, reached, places[ahead - 1] if ahead else START)
    channel.take([each for each in purchases if each.timestamp >= begins])
    new_told, new_dirty = channel.arrived(world.until + 1)
    assert rows(as_messages(new_told)) == told[ahead:]
    assert rows(as_messages(new_dirty)) == dirty[died:]


@given(st.sampled_from(["CS01", "X.-_9"]), st.integers(1, 10**9), st.sampled_from(KINDS[1:]), st.integers(0, 10**10))
def test_the_fast_encoding_of_faults_makes_the_plain_bytes(product_id: str, number: int, kind: str, late: int) -> None:
    at = 1_795_564_800_000_000 + number
    released_at = None if kind == "dropped" else at + late
    values = at, product_id, number, kind, released_at
    assert encode_fault(*values) == encode(fault(*values))
