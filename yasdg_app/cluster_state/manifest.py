"""The manifest: the record on which all workers of a shop agree, and which outlives them.

It is the first record on the topic `<application_id>-opening` that can be read as one. Workers that start at once may
each write one; all of them take the first in the log. It holds when the shop was opened, the fingerprint of the
configuration that its stream is made from, the producer id of all workers, and the names of its topics (see claims.py).
This module reads it; bootstrap.py writes it.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Any

import msgspec
from aiokafka import TopicPartition

from yasdg_app.config.fingerprint import fingerprint_differences
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka import topics
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.reader import Message, Reader
from yasdg_app.kafka.topic_policies import NEW_SHOP_ADVICE, OR_NEW_SHOP
from yasdg_app.messages import times
from yasdg_app.shop.clock import Clock

DELETE_ADVICE = "To delete the old shop with all of its messages, for good: yasdg topics delete"


class OpeningError(YasdgError):
    """The shop cannot be opened, or not be continued, with this configuration."""


class UnknownShopError(OpeningError):
    """There is no shop of this application_id in the cluster."""

    def __init__(self, application_id: str, servers: str) -> None:
        super().__init__(f"The shop {application_id} was never opened on {servers}. To open it: yasdg worker")


class ConfigurationChangedError(OpeningError):
    """The shop in the cluster was opened with another configuration.

    `manifest`: of the shop there; `changes`: the values that differ, one sentence each.
    """

    def __init__(self, manifest: "ShopManifest", changes: list[str]) -> None:
        self.manifest = manifest
        self.changes = changes
        super().__init__(
            f"The shop in this log was opened {times.time_text(manifest.opened_at)} with another configuration: "
            f"{'; '.join(changes)}. "
            f"Its stream cannot continue with this one. Put the values back, {OR_NEW_SHOP}. {DELETE_ADVICE}"
        )


@dataclass(frozen=True, slots=True)
class ShopManifest:
    """What all workers of a shop agree on.

    Attributes
    ----------
    clock
        The shop's clock, whose start is the event time of the shop's first moment.
    producer_id
        The id under which all workers produce.
    fingerprint
        What the stream is a function of, besides time: values of the configuration, and a digest of the catalog.
    application_id
        Of the shop that wrote it, by the key of its record.
    topics
        The names of the topics, by their keys in [KAFKA]; empty in shops of versions that did not record them.
    partitions
        The number of partitions with which the shop was opened; 0 if it was not recorded.
    """

    clock: Clock
    producer_id: int
    fingerprint: dict[str, Any]
    application_id: str = ""
    topics: Mapping[str, str] = field(default_factory=dict)
    partitions: int = 0

    @property
    def opened_at(self) -> int:
        """Event time of the shop's first moment, microseconds since 1970."""
        return self.clock.start


class _Content(msgspec.Struct):
    """The value of the record. What later versions add is ignored."""

    opened_at: str
    producer_id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    made_from: dict[str, str]
    started: str
    speed: float | None = None
    topics: dict[str, str] = {}
    partitions: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


class _Earlier(msgspec.Struct):
    """The value of the record in versions of YASDG that made another stream."""

    opened_at: str
    made_from: dict[str, msgspec.Raw]
    started: str | None = None


_decode = msgspec.json.Decoder(_Content).decode
_decode_earlier = msgspec.json.Decoder(_Earlier).decode


def read_manifest(records: Iterable[Message]) -> ShopManifest | None:
    """Return the manifest among the records of its topic: the first that can be read as one; None: there is none.

    Raises OpeningError if it was written by a version of YASDG that made another stream.
    """
    for record in records:
        content = decoded_or_none(_decode, record.value)
        if content is None:
            earlier = decoded_or_none(_decode_earlier, record.value)
            if earlier is not None and earlier.started is None and _moment(earlier.opened_at) is not None:
                raise OpeningError(
                    f"The shop in this log was opened {earlier.opened_at} by an earlier version of YASDG, and this "
                    f"version cannot continue its stream. {NEW_SHOP_ADVICE}. {DELETE_ADVICE}"
                )
            continue
        opened_at, started = _moment(content.opened_at), _moment(content.started)
        if opened_at is not None and started is not None and (content.speed is None or 0 < content.speed < inf):
            clock = Clock(opened_at, started, content.speed)
            key = (record.key or b"").decode(errors="replace")
            return ShopManifest(
                clock, content.producer_id, dict(content.made_from), key, content.topics, content.partitions
            )
    return None


async def find_manifest(connection: Connection, topic: str) -> ShopManifest | None:
    """Return the manifest on a topic that exists; None if there is none. Raises as `read_manifest`, and KafkaError."""
    tp = TopicPartition(topic, 0)
    async with Reader(connection) as reader:
        first, end = await reader.bounds(tp)
        async with aclosing(reader.all_chunks(tp, first, end, skip_damaged=True)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:  # after the manifest, anyone may have written any number of messages
                if (manifest := read_manifest(chunk.messages)) is not None:
                    return manifest
    return None


async def existing_manifest(
    connection: Connection, kafka: KafkaSettings, existing: Collection[str]
) -> ShopManifest | None:
    """Return the manifest of the configured shop, None if there is none; `existing`: all topics of the cluster."""
    topic = topics.opening_topic(kafka)
    return await find_manifest(connection, topic) if topic in existing else None


async def find_shop(
    connection: Connection, kafka: KafkaSettings, existing: Collection[str], fingerprint: Mapping[str, Any]
) -> ShopManifest:
    """Return the manifest of a shop that was opened before.

    Parameters
    ----------
    existing
        All topics of the cluster.
    fingerprint
        Of the configuration; see `ShopManifest`.

    Raises
    ------
    UnknownShopError
        If there is no such shop.
    ConfigurationChangedError
        If it was opened with another configuration.
    KafkaError
        If the cluster does not answer.
    """
    manifest = None
    if topics.control_topic(kafka) in existing:
        manifest = await existing_manifest(connection, kafka, existing)
    if manifest is None:
        raise UnknownShopError(kafka.application_id, connection.servers)
    check_configuration(manifest, fingerprint)
    return manifest


def check_configuration(manifest: ShopManifest, fingerprint: Mapping[str, Any]) -> None:
    """Raise ConfigurationChangedError if the shop was opened with another configuration."""
    if changes := differences(manifest, fingerprint):
        raise ConfigurationChangedError(manifest, changes)


def differences(manifest: ShopManifest, fingerprint: Mapping[str, Any]) -> list[str]:
    """Return which values of a configuration differ from those of the shop in the log, one sentence each."""
    return fingerprint_differences(manifest.fingerprint, fingerprint)


def _moment(text: str) -> int | None:
    return decoded_or_none(lambda value: times.event_time(value.decode()), text.encode())
