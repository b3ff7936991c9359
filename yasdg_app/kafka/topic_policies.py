"""What a shop needs of its topics, and which settings of existing topics do not fit. Pure: makes no requests.

See docs/decisions/topics.md for why each setting is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

MIN_BATCH_BYTES = 1_000_000  # producer.BATCH_BYTES before compression
MAX_DEAD_LETTER_BYTES = 2_000_000  # of a message that is copied whole to the dead letters, which accept 2 MiB
DEAD_LETTER_EXTRA_BYTES = 64 * 2**10  # of a dead letter besides the message that it copies
MIN_RETENTION_MS = 24 * 3600 * 1000  # of sales: a worker that reads them may be that late
MIN_CLOCK_SKEW_MS = 10_000  # that must be tolerated between workers and brokers
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
"""The settings of a topic that are checked."""

BROKER_SETTINGS = {
    "retention.bytes": "log.retention.bytes",
    "max.message.bytes": "message.max.bytes",
    "message.timestamp.type": "log.message.timestamp.type",
    "message.timestamp.before.max.ms": "log.message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms": "log.message.timestamp.after.max.ms",
    "message.timestamp.difference.max.ms": "log.message.timestamp.difference.max.ms",
    "min.insync.replicas": "min.insync.replicas",
}
"""The broker's settings that are the defaults of a topic's."""


class Use(Enum):
    """What the shop uses a topic for."""

    ALL = "all of its messages are read at each start"
    SALES = "its messages are read once, soon after they are written"
    REPORT = "it is written for other readers"
    PRODUCTS = "the last message of each key counts, and is written again at each start"
    TABLE = "the last message of each key counts"
    CONTROL = "all of its messages count, and the cluster sets the time"


EVENT_TIMES = (Use.ALL, Use.SALES, Use.REPORT)  # their timestamps are event times, which may be long ago


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic has to be like.

    `key`: the key in [KAFKA] that sets its name; `is_divided`: whether [KAFKA] partitions sets its partitions.
    """

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    key: str = "application_id"
    use: Use = Use.REPORT
    is_divided: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting of a topic that does not fit. `is_fatal`: the shop cannot run; otherwise readers miss something."""

    topic: str
    setting: str
    value: str
    wanted: str
    why: str
    is_fatal: bool


class Note(Protocol):
    """Records a setting that does not fit."""

    def __call__(self, setting: str, wanted: str, why: str, is_fatal: bool = True) -> None: ...


def problems(spec: TopicSpec, config: Mapping[str, str], age_ms: int, dead_letter_bytes: int = 0) -> list[Problem]:
    """Return the settings of a topic that do not fit. Those missing in `config` are unknown, and assumed to fit.

    Parameters
    ----------
    age_ms
        Age of the earliest event time that will be written, in milliseconds.
    dead_letter_bytes
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
    least = max(MIN_BATCH_BYTES, dead_letter_bytes)
    size = _number(config, "max.message.bytes", least)
    if size < MIN_BATCH_BYTES:
        note("max.message.bytes", str(least), "larger batches are written")
    elif size < least:
        note("max.message.bytes", str(least), "longer messages are copied in part", is_fatal=False)
    _note_timestamps(spec, config, age_ms, note)
    return found


def _note_retention(spec: TopicSpec, config: Mapping[str, str], age_ms: int, note: Note) -> None:
    why = "older messages are deleted"
    retention = _number(config, "retention.ms", -1)
    if retention >= 0:
        by_append = config.get("message.timestamp.type") == "LogAppendTime"
        if spec.use is Use.SALES and not by_append and retention < age_ms:
            note("retention.ms", UNLIMITED, f"the shop begins {_days(age_ms)} ago, so sales are deleted at once")
        else:
            too_short = spec.use is Use.SALES and retention < MIN_RETENTION_MS
            note("retention.ms", UNLIMITED, why, spec.use in (Use.ALL, Use.CONTROL) or too_short)
    if _number(config, "retention.bytes", -1) >= 0:
        note("retention.bytes", UNLIMITED, "the oldest messages are deleted", spec.use in (Use.ALL, Use.CONTROL))


def _note_timestamps(spec: TopicSpec, config: Mapping[str, str], age_ms: int, note: Note) -> None:
    stamped = config.get("message.timestamp.type")
    if spec.use is Use.TABLE and stamped == "LogAppendTime":
        note("message.timestamp.type", "CreateTime", "workers could not know which worker's rows were appended")
    if spec.use is Use.CONTROL and stamped == "CreateTime":
        note("message.timestamp.type", "LogAppendTime", "incidents set while the shop runs have no effect", False)
    if stamped == "LogAppendTime" and spec.use is Use.SALES:
        note("message.timestamp.type", "CreateTime", "the timestamps are not event times", False)
    elif stamped == "LogAppendTime" and spec.use is not Use.TABLE:
        return  # the limits do not apply
    in_force = stamped != "LogAppendTime"
    for setting in ("message.timestamp.before.max.ms", "message.timestamp.difference.max.ms"):
        limit = _number(config, setting, -1)
        if spec.use in EVENT_TIMES and 0 <= limit < int(ANY_TIME_MS):
            why = f"the shop begins {_days(age_ms)} ago, and messages older than {_days(limit)} are rejected"
            if limit > age_ms:
                why = f"after a stop of more than {_days(limit)} the sales of that time are rejected"
            note(setting, ANY_TIME_MS, why, in_force and limit <= age_ms)
    if 0 <= _number(config, "message.timestamp.after.max.ms", -1) < MIN_CLOCK_SKEW_MS:
        note("message.timestamp.after.max.ms", "3600000", "clocks differ", in_force)


def complete_config(spec: TopicSpec, defaults: Mapping[str, str], dead_letter_bytes: int = 0) -> dict[str, str]:
    """Return the settings for a new topic: its own, and those where the cluster's defaults do not fit."""
    found = problems(spec, {**defaults, **spec.config}, 0, dead_letter_bytes)
    return spec.config | {problem.setting: problem.wanted for problem in found}


def problem_line(topic_problems: Sequence[Problem], servers: str) -> str:
    """Return what does not fit of one topic, in one line, with the command that fixes it."""
    topic = topic_problems[0].topic
    what = "; ".join(
        f"{problem.setting} is {problem.value}, expected {problem.wanted} ({problem.why})" for problem in topic_problems
    )
    settings = ",".join(f"{problem.setting}={problem.wanted}" for problem in topic_problems)
    return f"{topic}: {what}. To set it: {configs_command(topic, settings, servers)}"


REJECTING_SETTINGS = {
    10: ("max.message.bytes", str(2 * MIN_BATCH_BYTES)),  # MESSAGE_TOO_LARGE
    18: ("max.message.bytes", str(2 * MIN_BATCH_BYTES)),  # RECORD_LIST_TOO_LARGE
    32: ("message.timestamp.before.max.ms", ANY_TIME_MS),  # INVALID_TIMESTAMP
}
"""By Kafka's error codes: the setting of a topic by which the cluster rejects a batch, and the value that it needs."""


def rejection(topic: str, partition: int, code: int, error: str, servers: str) -> str:
    """Return why the cluster rejects a batch for good, in one line, with the command that fixes it if it is known."""
    text = f"{topic}, partition {partition}: the cluster rejects our messages ({error})"
    if code not in REJECTING_SETTINGS:
        return text
    setting, wanted = REJECTING_SETTINGS[code]
    return f"{text}. To set {setting}: {configs_command(topic, f'{setting}={wanted}', servers)}"


def configs_command(topic: str, settings: str, servers: str) -> str:
    """Return the command of Apache Kafka that sets settings of a topic: `name=value,name=value`."""
    return (
        f"kafka-configs.sh --bootstrap-server {servers} --alter --entity-type topics --entity-name {topic} "
        f"--add-config {settings}"
    )


def partition_problem(specs: Iterable[TopicSpec], counts: Mapping[str, int], opened_with: int | None) -> str | None:
    """Return which topics have the wrong number of partitions, and what to do; None if none has.

    Parameters
    ----------
    counts
        The number of partitions of the topics that exist.
    opened_with
        The number with which the shop in the log was opened, 0 if it is unknown; None if there is no shop.
    """
    existing = [spec for spec in specs if spec.name in counts]
    wrong = [spec for spec in existing if counts[spec.name] != spec.partitions]
    if not wrong:
        return None
    divided = [spec for spec in existing if spec.is_divided]
    numbers = {counts[spec.name] for spec in divided}
    text = "; ".join(f"{spec.name} has {counts[spec.name]} partitions, expected {spec.partitions}" for spec in wrong)
    fits_all = len(numbers) == 1 and all(spec.is_divided for spec in wrong)
    if fits_all and (not opened_with or numbers == {opened_with}):
        text += f". Set [KAFKA] partitions = {numbers.pop()}"
        return text if opened_with is not None else f"{text}, or give them other names: {_keys(divided)}"
    text += ". Partitions cannot be removed"
    if opened_with is not None:
        return f"{text}, so this shop cannot continue. Its messages remain where they are. {NEW_SHOP_ADVICE}"
    return f"{text}. Give other names: {_keys(wrong)}"


NEW_SHOP_ADVICE = "Open a separate shop: set another [KAFKA] application_id, and another name for each topic (topic_…)"
"""This is always possible, and destroys nothing."""
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
