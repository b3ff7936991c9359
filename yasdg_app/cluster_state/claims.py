"""Which shop the topics belong to: manifests of other shops that name them, and messages of a shop without a manifest.

Two shops on the same topics would sell each sale twice, and a shop that opened over another's messages would continue
neither. See docs/decisions/topics.md. Reads only; must not know what is done about it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from yasdg_app.config.settings import KafkaSettings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka import topics
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.reader import Message, Reader
from yasdg_app.messages import decoders, ids, times
from yasdg_app.messages.formats import Format

logger = logging.getLogger(__name__)

OPENING_SUFFIX = "-opening"
CLAIM_SECONDS = 5.0  # for reading another shop's opening topic
MAX_CHUNKS = 4  # of another shop's opening topic that are searched for its manifest
LAST_OFFSETS = 1_000  # of a partition that are searched for messages of a shop, besides its first chunk

IsOfShop = Callable[[Message, int], str | None]
"""Returns the id that a message of a partition has if it is one of a shop's; otherwise None."""


class Claim(NamedTuple):
    """Another shop's manifest that names topics of ours. `started`: when it was opened, UTC."""

    application_id: str
    started: str
    topics: tuple[str, ...]


class _Named(msgspec.Struct):
    started: str
    topics: dict[str, str]


_decode = msgspec.json.Decoder(_Named).decode


def _moment(text: bytes) -> int:
    return times.event_time(text.decode())


def claim_of(opening_topic: str, record: Message, names: Collection[str]) -> Claim | None:
    """Return which of our topics a record of an opening topic names; None if it is not a manifest.

    A record that was copied from another topic, as by a mirror, names topics elsewhere: its key does not match.
    """
    application_id = (record.key or b"").decode(errors="replace")
    manifest = decoded_or_none(_decode, record.value)
    started = None if manifest is None else decoded_or_none(_moment, manifest.started.encode())
    if manifest is None or started is None or opening_topic != application_id + OPENING_SUFFIX:
        return None
    return Claim(application_id, times.time_text(started), tuple(sorted(set(manifest.topics.values()) & set(names))))


async def claims_on(
    reader: Reader, kafka: KafkaSettings, existing: Iterable[str], names: Collection[str]
) -> list[Claim]:
    """Return the claims of other shops on topics of ours, the oldest first. Topics that we may not read are ignored.

    `existing`: all topics of the cluster; `names`: those of ours. Raises no KafkaError.
    """
    own = topics.opening_topic(kafka)
    others = [topic for topic in existing if topic.endswith(OPENING_SUFFIX) and topic != own]

    async def read(topic: str) -> Claim | None:
        try:
            async with asyncio.timeout(CLAIM_SECONDS):
                return await _first_claim(reader, topic, names)
        except (KafkaError, OSError, TimeoutError, YasdgError) as error:
            logger.debug("%s cannot be read: %r", topic, error)
            return None

    found = await asyncio.gather(*(read(topic) for topic in others))
    claims = [claim for claim in found if claim is not None and claim.topics]
    return sorted(claims, key=lambda claim: (claim.started, claim.application_id))


async def _first_claim(reader: Reader, topic: str, names: Collection[str]) -> Claim | None:
    tp = TopicPartition(topic, 0)
    position, end = await reader.bounds(tp)
    for _ in range(MAX_CHUNKS):
        if position >= end:
            break
        chunk = await reader.fetch_chunk(tp, position, end)
        for record in chunk.messages:
            if (claim := claim_of(topic, record, names)) is not None:
                return claim
        position = max(chunk.end, position + 1)
    return None


async def sign_of_a_shop(
    reader: Reader, kafka: KafkaSettings, existing: Collection[str], form: Format
) -> tuple[TopicPartition, int, str] | None:
    """Return the place of a message of a shop on our topics, and what it is; None if there is none.

    `existing`: the topics to search. Only the first and the last messages of a partition are read. Raises KafkaError
    and RegistryError.
    """
    searches: list[tuple[str, str, IsOfShop]] = [
        ("purchases", kafka.topic_purchases, _purchase),
        ("lost_sales", kafka.topic_lost_sales, _lost_sale),
        ("stockings", kafka.topic_stockings, _stocking),
        ("", topics.changelog_topic(kafka), _row),
    ]
    for what, topic, is_of_shop in searches:
        tps = [TopicPartition(topic, partition) for partition in range(kafka.partitions)] if topic in existing else []
        firsts, ends = await reader.firsts(tps), await reader.ends(tps)
        for tp in tps:
            first, end = firsts[tp], ends[tp]
            if first >= end:
                continue
            read = (await reader.fetch_chunk(tp, first, end)).messages
            read = read + [m async for some in reader.chunks(tp, max(first, end - LAST_OFFSETS), end) for m in some]
            for message in await form.plain(what, read) if what else read:
                if (found := is_of_shop(message, tp.partition)) is not None:
                    return tp, message.offset, found
    return None


def _purchase(message: Message, partition: int) -> str | None:
    sold = decoded_or_none(lambda value: decoders.read_purchase(value, partition, lambda _: partition), message.value)
    return None if sold is None else f"the sale {ids.transaction_id(sold[0].product_id, sold[1])}"


def _lost_sale(message: Message, partition: int) -> str | None:
    lost = decoded_or_none(lambda value: decoders.read_lost_sale(value, partition, lambda _: partition), message.value)
    return None if lost is None else f"the lost sale {ids.lost_sale_id(lost[0].product_id, lost[1])}"


def _stocking(message: Message, partition: int) -> str | None:
    told = decoded_or_none(decoders.read_restock_key, message.value)
    if told is None or ids.restock_number(told.product_id, told.stocking_id) is None:
        return None
    return f"the restock {told.stocking_id}"


def _row(message: Message, partition: int) -> str | None:
    row = decoded_or_none(decoders.read_level, message.value)
    return None if row is None or row.product_id.encode() != message.key else f"the table's row of {row.product_id}"
