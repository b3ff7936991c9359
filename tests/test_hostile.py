"""The hostile records of a fuzz: all strategies are dealt, the same seed gives the same ones, and Kafka takes them."""

from itertools import islice
from random import Random

import pytest
from aiokafka.record.memory_records import MemoryRecords
from support.foreign_producer import split
from support.hostile_records import (
    BIG,
    COMPRESSIONS,
    EXAMPLES,
    MEGABYTE,
    STRATEGIES,
    TOPICS,
    WAYS,
    Attack,
    Deck,
    Record,
    World,
    attacks,
    hostile,
    record_batch,
    size_of,
)

WORLD = World(partitions=4, products=("CS01", "CS02", "SF01"), now=1_796_040_000_000)
MOST_BYTES = 1_048_588  # of a batch: what a topic takes by default
CARDS = [(topic, strategy) for topic in TOPICS for strategy in STRATEGIES[topic]]


def dealt(seed: int, count: int, *only: str) -> list[Attack]:
    dice = Random(seed)
    return list(islice(attacks(dice, Deck(dice, only), lambda: WORLD), count))


def test_the_same_seed_gives_the_same_records() -> None:
    assert dealt(7, 40) == dealt(7, 40)
    assert dealt(7, 40) != dealt(8, 40)


def test_every_strategy_of_every_topic_is_dealt_before_one_comes_again() -> None:
    deck = Deck(Random(1))
    assert sorted(deck.deal() for _ in CARDS) == sorted(CARDS)


def test_big_records_are_rare_after_the_first_round() -> None:
    deck = Deck(Random(1))
    rest = [deck.deal() for _ in range(20 * len(CARDS))][len(CARDS) :]
    assert 0 < sum(name in BIG for _, name in rest) < len(rest) / 50


def test_the_deck_can_be_confined_to_topics_and_strategies() -> None:
    assert {topic for topic, _ in (Deck(Random(1), ["control"]).deal() for _ in range(200))} == {"control"}
    some = Deck(Random(1), ["control:gap", "changelog:tombstone"], [":of a junk"])
    names = {some.deal() for _ in range(500)}
    assert all(("gap" in name and topic == "control") or topic == "changelog" for topic, name in names)
    assert ("changelog", "tombstone") in names
    assert not any("of a junk" in name for _, name in names)
    with pytest.raises(ValueError, match="no such strategy: till"):
        Deck(Random(1), ["till"])


def test_every_compression_and_every_way_to_append_is_used() -> None:
    found = dealt(3, 300)
    assert {attack.compression for attack in found} == {*COMPRESSIONS}
    assert {attack.way for attack in found} == {*WAYS}


@pytest.mark.parametrize("topic", TOPICS)
def test_each_record_of_a_topic_is_one_that_kafka_takes(topic: str) -> None:
    for strategy in STRATEGIES[topic]:
        for seed in range(3):
            record = hostile(Random(f"{strategy} {seed}"), WORLD, topic, strategy)
            assert 0 <= record.partition < WORLD.partitions_of(topic), strategy
            assert -1 <= record.timestamp < 2**63, strategy
            assert size_of(record) < MOST_BYTES, strategy
            batch = record_batch([record])
            assert len(batch) < MOST_BYTES, strategy
            assert len(list(split(batch))) == 1, strategy


@pytest.mark.parametrize("topic", TOPICS)
def test_there_is_a_record_of_a_megabyte_on_every_topic(topic: str) -> None:
    sizes = [size_of(hostile(Random(1), WORLD, topic, strategy)) for strategy in STRATEGIES[topic] if strategy in BIG]
    assert max(sizes) > MEGABYTE - 1_000


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_batch_is_read_back_as_it_was_made(compression: str) -> None:
    records = [
        Record(b"CS01", b"{}" * 500, ((b"reason", b"x"), ("größe".encode(), None)), WORLD.now, 0),
        Record(None, None, (), WORLD.now - 5, 0),
        Record(b"", b"", ((b"", b""),), WORLD.now + 86_400_000, 0),
    ]
    batch = record_batch(records, compression, 4711, 3, 17, transactional=True)
    read = MemoryRecords(batch).next_batch()
    assert read is not None
    assert read.validate_crc()
    assert (read.producer_id, read.producer_epoch, read.base_sequence) == (4711, 3, 17)
    assert read.is_transactional
    found = [
        Record(m.key, m.value, tuple((name.encode(), value) for name, value in m.headers), m.timestamp, 0) for m in read
    ]
    assert found == records
    (header,) = split(batch)
    assert (header.first, header.next, header.count, header.producer_id) == (0, 3, 3, 4711)
    assert not header.is_control


def test_the_batches_of_an_attack_hold_all_its_records_in_pieces_that_a_topic_takes() -> None:
    for attack in dealt(11, 200):
        batches = list(attack.batches())
        assert sum(len(records) for _, _, records in batches) == sum(map(len, attack.records.values()))
        assert all(record.partition == partition for _, partition, records in batches for record in records)
        assert all(len(record_batch(records, "none")) < MOST_BYTES for _, _, records in batches)


def test_a_strategy_changes_the_messages_of_the_shop_that_are_known() -> None:
    real = Record(b"SF01", EXAMPLES["purchases"][1].replace(b"CS01-000042", b"SF01-001234"), (), WORLD.now, 2)
    world = World(4, WORLD.products, WORLD.now, real={"purchases": [real]})
    following = hostile(Random(1), world, "purchases", "next with an odd field")
    assert b"-001235" in (following.value or b"")
    assert (following.key, following.partition) == (b"SF01", 2)
    assert hostile(Random(1), world, "purchases", "tombstone") == real._replace(value=None)


def test_messages_that_are_no_json_are_changed_as_examples_are() -> None:
    for value in (b"\xff", None, b"[" * 100_000, b"[]", b"{}"):
        real = {topic: [Record(b"k", value, (), WORLD.now, 0)] for topic in TOPICS}
        world = World(4, WORLD.products, WORLD.now, real=real)
        for topic, strategy in CARDS:
            assert hostile(Random(1), world, topic, strategy).partition < 4


def test_nothing_that_takes_effect_as_an_incident_of_the_shop_silences_it() -> None:
    """A strategy of the control topic is either refused or has an effect with which every partition sells."""
    for strategy in ("odd span", "odd kind", "odd categories", "odd products", "odd name", "odd ramps"):
        for seed in range(20):
            value = hostile(Random(seed), WORLD, "control", strategy).value or b""
            assert b'"factor":1.0' in value
