"""Watches the shop's topics while it runs: detects one that was deleted, created again, cut or divided otherwise.

With `auto.create.topics.enable` a deleted topic is created again, empty, by the next client that requests it. aiokafka
0.14 does not read topic ids, so this is detected by the log's end offsets, which never decrease otherwise. Must not
know what is done about it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import Cluster
from yasdg_app.kafka.reader import LATEST, READ_UNCOMMITTED
from yasdg_app.kafka.topic_policies import NEW_SHOP_ADVICE, OR_NEW_SHOP, TopicSpec, Use

CONFIRMATIONS = 3  # checks in a row that must agree: a broker that lags or has just started may not know a topic yet
RECREATED_USES = (Use.PRODUCTS,)
"""Topics that the next start creates again, with all their messages."""


class TopicChangedError(YasdgError):
    """A topic was deleted, created again, cut or divided otherwise while the shop ran."""


class TopicWatch:
    """Checks topics repeatedly. Connects at the first check.

    Parameters
    ----------
    connection
        To the cluster.
    specs
        The topics as they have to be.
    """

    def __init__(self, connection: Connection, specs: Iterable[TopicSpec]) -> None:
        self._cluster = Cluster(connection)
        self._specs = {spec.name: spec for spec in specs}
        self._ends: dict[TopicPartition, int] = {}  # the highest so far
        self._suspected: dict[str, int] = defaultdict(int)  # in how many checks in a row

    async def stop(self) -> None:
        """Disconnect."""
        await self._cluster.close()

    async def look(self) -> None:
        """Check once. Raises TopicChangedError; KafkaError or OSError if the cluster does not answer."""
        counts, leaders = await self._describe()
        found = {name: text for name in self._specs if (text := self._partitions_of(name, counts)) is not None}
        for tp, end in (await self._log_ends(leaders)).items():
            known = self._ends.get(tp, 0)
            if end < known and tp.topic not in found:
                found[tp.topic] = (
                    f"{tp.topic}, partition {tp.partition} ends at offset {end}, but ended at {known} before, so the "
                    "topic was deleted and created again, or its log was cut"
                )
            self._ends[tp] = max(end, known)
        self._suspected = defaultdict(int, {name: self._suspected[name] + 1 for name in found})
        sure = sorted(name for name, looks in self._suspected.items() if looks >= CONFIRMATIONS)
        if sure:
            what = "; ".join(found[name] for name in sure)
            raise TopicChangedError(f"While the shop was running: {what}. {self._advice(sure, counts)}")

    def _partitions_of(self, name: str, counts: Mapping[str, int]) -> str | None:
        """Return what is wrong with the partitions of a topic; None if nothing is, or it is unknown."""
        count, wanted = counts.get(name), self._specs[name].partitions
        if count is None or count == wanted:
            return None
        return f"{name} was deleted" if count == 0 else f"{name} has {count} partitions, expected {wanted}"

    def _advice(self, names: list[str], counts: Mapping[str, int]) -> str:
        if all(self._specs[name].use in RECREATED_USES and counts.get(name, 0) < 2 for name in names):
            return "Start again: the next start creates it again, with all its messages"
        if any(counts.get(name, 0) > self._specs[name].partitions for name in names):
            return f"Partitions cannot be removed, so this shop cannot continue. {NEW_SHOP_ADVICE}"
        return f"The shop cannot create its messages again: restore it from a backup, {OR_NEW_SHOP}"

    async def _describe(self) -> tuple[dict[str, int], dict[int, list[TopicPartition]]]:
        """Return the number of partitions by topic, 0 if it does not exist, and the partitions by leader."""
        # The request must not create a topic that was deleted.
        answer = await self._cluster.send_to_any(MetadataRequest(list(self._specs), allow_auto_topic_creation=False))
        counts: dict[str, int] = {}
        leaders: dict[int, list[TopicPartition]] = defaultdict(list)
        for topic in answer.to_object()["topics"]:
            name, code = topic["topic"], topic["error_code"]
            if code == UnknownTopicOrPartitionError.errno:
                counts[name] = 0
            elif not code:
                counts[name] = len(topic["partitions"])
                for partition in topic["partitions"]:
                    if partition["leader"] >= 0:
                        leaders[partition["leader"]].append(TopicPartition(name, partition["partition"]))
        return counts, leaders

    async def _log_ends(self, leaders: Mapping[int, list[TopicPartition]]) -> dict[TopicPartition, int]:
        """Return the end offsets of partitions whose leaders answer."""
        ends: dict[TopicPartition, int] = {}
        for leader, tps in leaders.items():
            partitions: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for tp in tps:
                partitions[tp.topic].append((tp.partition, LATEST))
            try:
                answer = await self._cluster.send(leader, OffsetRequest(-1, READ_UNCOMMITTED, list(partitions.items())))
            except (KafkaError, OSError):
                self._cluster.forget_leaders()
                continue  # the others may answer
            for topic, partitions_found in answer.topics:
                ends |= {
                    TopicPartition(topic, partition): int(end)
                    for partition, code, *_, end in partitions_found
                    if not code
                }
        return ends
