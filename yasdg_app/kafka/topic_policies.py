"""What a shop needs of its topics, and what a topic that exists lacks of it. Pure: asks no cluster.

See docs/decisions/topics.md for why each setting is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

MIN_BATCH_BYTES = 1_000_000  # what producer.BATCH_BYTES sends at once
MAX_LETTER_BYTES = 2_000_000  # of a message that is copied whole to the dead letters, which take 2 MiB
LETTER_EXTRA_BYTES = 64 * 2**10  # what a dead letter holds besides the message that it is a copy of
MIN_RETENTION_MS = 24 * 3600 * 1000  # of sales: so long they have to be there for a worker that reads them
MIN_AHEAD_MS = 10_000  # clocks of workers and brokers may differ by so much
UNLIMITED = "-1"
ANY_TIME_MS = str(2**63 - 1)
DAY_MS = 24 * 3600 * 1000

SETTINGS = (
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "max.message.bytes",
    "message.timestamp.type",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "message.timestamp.difference.max.ms",  # of clusters before Apache Kafka 3.6
    "min.insync.replicas",
)
"""What is read of a topic."""

BROKER_SETTINGS = {
    "retention.bytes": "log.retention.bytes",
    "max.message.bytes": "message.max.bytes",
    "message.timestamp.type": "log.message.timestamp.type",
    "message.timestamp.before.max.ms": "log.message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms": "log.message.timestamp.after.max.ms",
    "message.timestamp.difference.max.ms": "log.message.timestamp.difference.max.ms",
    "min.insync.replicas": "min.insync.replicas",
}
"""What a topic is like of which nothing else is said, by the names of the broker's settings."""


class Use(Enum):
    """What a topic is to the shop."""

    ALL = "all of its messages are read at each start"
    SALES = "its messages are read once, soon after they were written"
    REPORT = "it is written for readers"
    PRODUCTS = "the last message of each key counts, and is written again at each start"
    TABLE = "the last message of each key counts"
    CONTROL = "all of its messages count, and the cluster sets the time"


EVENT_TIMES = (Use.ALL, Use.SALES, Use.REPORT)  # their messages bear event times, which may be long ago


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic has to be like.

    `key`: of [KAFKA], by which it gets its name; `is_divided`: it has as many partitions as [KAFKA] partitions says.
    """

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    key: str = "application_id"
    use: Use = Use.REPORT
    is_divided: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting of a topic that does not fit. `is_fatal`: the shop cannot run; otherwise readers lose something."""

    topic: str
    setting: str
    value: str
    wanted: str
    why: str
    is_fatal: bool


class Note(Protocol):
    """What notes a setting that does not fit."""

    def __call__(self, setting: str, wanted: str, why: str, is_fatal: bool = True) -> None: ...


def problems(spec: TopicSpec, config: Mapping[str, str], age_ms: int, letter_bytes: int = 0) -> list[Problem]:
    """Return what does not fit of a topic's settings. A setting that `config` lacks is not known, and taken to fit.

    Parameters
    ----------
    age_ms
        Milliseconds before now of the earliest event time that will be written.
    letter_bytes
        The size of the largest message that may have to be copied to the topic.
    """
    found: list[Problem] = []

    def note(setting: str, wanted: str, why: str, is_fatal: bool = True) -> None:
        found.append(Problem(spec.name, setting, config.get(setting, "not set"), wanted, why, is_fatal))

    policies = {policy.strip() for policy in config.get("cleanup.policy", "").split(",")} - {""}
    must_stay = spec.use in (Use.ALL, Use.SALES)
    if "compact" in policies and spec.use in EVENT_TIMES:
        note("cleanup.policy", "delete", "compaction keeps only one message of a key", must_stay)
        policies = {"delete"}
    elif "delete" in policies and spec.use is Use.TABLE:
        note("cleanup.policy", "compact", "the table would lose rows", _is_limited(config))
        policies = {"compact"}
    if "delete" in policies:
        _note_retention(spec, config, age_ms, note)
    least = max(MIN_BATCH_BYTES, letter_bytes)
    size = _number(config, "max.message.bytes", least)
    if size < MIN_BATCH_BYTES:
        note("max.message.bytes", str(least), "larger batches are written")
    elif size < least:
        note("max.message.bytes", str(least), "longer messages are copied in part", is_fatal=False)
    _note_timestamps(spec, config, age_ms, note)
    return found


def _note_retention(spec: TopicSpec, config: Mapping[str, str], age_ms: int, note: Note) -> None:
    why = "messages vanish when they are older"
    retention = _number(config, "retention.ms", -1)
    if retention >= 0:
        by_append = config.get("message.timestamp.type") == "LogAppendTime"
        if spec.use is Use.SALES and not by_append and retention < age_ms:
            note("retention.ms", UNLIMITED, f"the shop begins {_days(age_ms)} ago, so sales vanish at once")
        else:
            too_short = spec.use is Use.SALES and retention < MIN_RETENTION_MS
            note("retention.ms", UNLIMITED, why, spec.use in (Use.ALL, Use.CONTROL) or too_short)
    if _number(config, "retention.bytes", -1) >= 0:
        note("retention.bytes", UNLIMITED, "the oldest messages vanish", spec.use in (Use.ALL, Use.CONTROL))


def _note_timestamps(spec: TopicSpec, config: Mapping[str, str], age_ms: int, note: Note) -> None:
    stamped = config.get("message.timestamp.type")
    if spec.use is Use.TABLE and stamped == "LogAppendTime":
        note("message.timestamp.type", "CreateTime", "workers could not tell whose rows were written")
    if spec.use is Use.CONTROL and stamped == "CreateTime":
        note("message.timestamp.type", "LogAppendTime", "incidents set while the shop runs have no effect", False)
    if stamped == "LogAppendTime" and spec.use is Use.SALES:
        note("message.timestamp.type", "CreateTime", "readers find no event times in the timestamps", False)
    elif stamped == "LogAppendTime" and spec.use is not Use.TABLE:
        return  # the limits are not in force, and will not be
    in_force = stamped != "LogAppendTime"
    for setting in ("message.timestamp.before.max.ms", "message.timestamp.difference.max.ms"):
        limit = _number(config, setting, -1)
        if spec.use in EVENT_TIMES and 0 <= limit < int(ANY_TIME_MS):
            why = f"the shop begins {_days(age_ms)} ago, and older messages than {_days(limit)} are refused"
            if limit > age_ms:
                why = f"after a stop of more than {_days(limit)} the sales of that time are refused"
            note(setting, ANY_TIME_MS, why, in_force and limit <= age_ms)
    if 0 <= _number(config, "message.timestamp.after.max.ms", -1) < MIN_AHEAD_MS:
        note("message.timestamp.after.max.ms", "3600000", "clocks differ", in_force)


def fitting(spec: TopicSpec, defaults: Mapping[str, str], letter_bytes: int = 0) -> dict[str, str]:
    """Return the settings with which a new topic fits, whatever the cluster's defaults are."""
    found = problems(spec, {**defaults, **spec.config}, 0, letter_bytes)
    return spec.config | {problem.setting: problem.wanted for problem in found}


def line(of_one_topic: Sequence[Problem], servers: str) -> str:
    """Return what does not fit of a topic, in one line, with the command that puts it right."""
    topic = of_one_topic[0].topic
    what = "; ".join(
        f"{problem.setting} is {problem.value}, expected {problem.wanted} ({problem.why})" for problem in of_one_topic
    )
    settings = ",".join(f"{problem.setting}={problem.wanted}" for problem in of_one_topic)
    return f"{topic}: {what}. To set it: {configs_command(topic, settings, servers)}"


REFUSED_BY = {
    10: ("max.message.bytes", str(2 * MIN_BATCH_BYTES)),  # MESSAGE_TOO_LARGE
    18: ("max.message.bytes", str(2 * MIN_BATCH_BYTES)),  # RECORD_LIST_TOO_LARGE
    32: ("message.timestamp.before.max.ms", ANY_TIME_MS),  # INVALID_TIMESTAMP
}
"""By Kafka's error codes: the setting of a topic for which the cluster refuses a batch, and what it has to be."""


def rejection(topic: str, partition: int, code: int, error: str, servers: str) -> str:
    """Return why the cluster refuses a batch for good, in one line, with what puts it right as far as that is known."""
    text = f"{topic}, partition {partition}: the cluster refuses our messages ({error})"
    if code not in REFUSED_BY:
        return text
    setting, wanted = REFUSED_BY[code]
    return f"{text}. To set {setting}: {configs_command(topic, f'{setting}={wanted}', servers)}"


def configs_command(topic: str, settings: str, servers: str) -> str:
    """Return the command of Apache Kafka that sets settings of a topic: `name=value,name=value`."""
    return (
        f"kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics --entity-name {topic} "
        f"--add-config {settings}"
    )


def partition_problem(specs: Iterable[TopicSpec], counts: Mapping[str, int], opened_with: int | None) -> str | None:
    """Return which topics have another number of partitions than they need, and what is possible; None if none has.

    Parameters
    ----------
    counts
        The number of partitions of the topics that exist.
    opened_with
        The number with which the shop in the log was opened, 0 if that is not known; None: no shop is there.
    """
    there = [spec for spec in specs if spec.name in counts]
    wrong = [spec for spec in there if counts[spec.name] != spec.partitions]
    if not wrong:
        return None
    divided = [spec for spec in there if spec.is_divided]
    numbers = {counts[spec.name] for spec in divided}
    text = "; ".join(f"{spec.name} has {counts[spec.name]} partitions, expected {spec.partitions}" for spec in wrong)
    fits_all = len(numbers) == 1 and all(spec.is_divided for spec in wrong)
    if fits_all and (not opened_with or numbers == {opened_with}):
        text += f". Set [KAFKA] partitions = {numbers.pop()}"
        return text if opened_with is not None else f"{text}, or give them other names: {_keys(divided)}"
    text += ". Partitions cannot be taken back"
    if opened_with is not None:
        return f"{text}, so this shop cannot continue. Its messages stay where they are. {NEW_SHOP_ADVICE}"
    return f"{text}. Give other names: {_keys(wrong)}"


NEW_SHOP_ADVICE = "Open a separate shop: set another [KAFKA] application_id, and another name for each topic (topic_…)"
"""What is always possible, and destroys nothing."""
OR_NEW_SHOP = f"or {NEW_SHOP_ADVICE[0].lower()}{NEW_SHOP_ADVICE[1:]}"


def _keys(specs: Iterable[TopicSpec]) -> str:
    return "[KAFKA] " + ", ".join(sorted({spec.key for spec in specs}))


def _is_limited(config: Mapping[str, str]) -> bool:
    return _number(config, "retention.ms", -1) >= 0 or _number(config, "retention.bytes", -1) >= 0


def _number(config: Mapping[str, str], setting: str, otherwise: int) -> int:
    try:
        return int(config[setting])
    except (KeyError, ValueError):
        return otherwise


def _days(milliseconds: int) -> str:
    days = milliseconds / DAY_MS
    return f"{days:.3g} days" if days >= 1 else f"{milliseconds / 3_600_000:.3g} hours"
