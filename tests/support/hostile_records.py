"""Hostile records: what a foreign producer may append to each topic of a shop. Pure: no Kafka, no clock, one seed.

A strategy makes one record for one topic, usually from a message of the shop: it changes a field, the key, the headers,
the timestamp or the partition, or replaces the whole value. `Deck` deals all strategies of all topics repeatedly in a
random order, and `attacks` also decides how the records are appended: compression, idempotent or not, in a transaction
that is committed, aborted or left open. `record_batch` encodes them as Kafka's message format 2.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import msgspec
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.util import calc_crc32c, encode_varint

TOPICS = (
    "products",
    "purchases",
    "stockings",
    "lost_sales",
    "incidents",
    "dead_letters",
    "opening",
    "control",
    "changelog",
    "shelves",
    "dirty",
    "faults",
)
SINGLE = ("products", "incidents", "opening", "control")
"""Topics with one partition."""

MEGABYTE = 1_000_000  # bytes; by default a topic accepts batches of up to 1,048,588
BATCH_BYTES = 1_020_000  # of the records of a batch
BIG_ONE_IN = 16  # after the first round, records of 100 KB and more are dealt once in so many rounds
MOST_RECORDS = 24  # of a batch
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
YEAR_9999_MS = 253_402_300_799_999

Headers = tuple[tuple[bytes, bytes | None], ...]


class Record(NamedTuple):
    """A record to append. The names of its headers are bytes: they need not be UTF-8."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int  # milliseconds since 1970
    partition: int


@dataclass(frozen=True)
class World:
    """What a foreign producer knows of the shop.

    Attributes
    ----------
    partitions
        Number of partitions of the topics that have more than one.
    products
        Ids of the products.
    names
        Names of the topics, by kind.
    now
        Milliseconds since 1970.
    real
        Messages of the shop by kind of topic. Where there are none, `EXAMPLES` are used.
    """

    partitions: int
    products: Sequence[str]
    now: int
    names: Mapping[str, str] = field(default_factory=dict)
    real: Mapping[str, Sequence[Record]] = field(default_factory=dict)

    def partitions_of(self, topic: str) -> int:
        return 1 if topic in SINGLE else self.partitions

    def name(self, topic: str) -> str:
        return self.names.get(topic, topic)


Strategy = Callable[[Random, World, str, Record], Record]
"""Makes a hostile record for a kind of topic from a message of the shop."""

EXAMPLES: dict[str, tuple[bytes | None, bytes, Headers]] = {
    "products": (
        b"CS01",
        b'{"product_id":"CS01","category":"Classics","item":"Sunrise","size":"20 oz.","price":4.99,"inventory":20,'
        b'"contains_fruit":true,"contains_veggies":false,"contains_nuts":false,"contains_caffeine":false,'
        b'"range_weight":3,"cost":1.5}',
        (),
    ),
    "purchases": (
        b"CS01",
        b'{"transaction_time":"2026-11-30 12:00:00.000001","product_id":"CS01","price":4.99,"quantity":1,'
        b'"is_member":false,"member_discount":0.0,"add_supplements":false,"supplement_price":0.0,'
        b'"total_purchase":4.99,"transaction_id":"CS01-000042","total_cost":1.5,"promotion_discount":0.0,'
        b'"substituted_from":null}',
        (),
    ),
    "stockings": (
        b"CS01",
        b'{"event_time":"2026-11-30 12:00:00.000001","product_id":"CS01","existing_level":9,"stock_quantity":15,'
        b'"new_level":24,"stocking_id":"CS01-R000007"}',
        (),
    ),
    "lost_sales": (
        b"CS01",
        b'{"event_time":"2026-11-30 12:00:00.000001","product_id":"CS01","quantity":2,"value":9.98,'
        b'"reason":"too_few","level":1,"promised":"2026-11-30 12:05:00.000000","incident":null,"substitute":null,'
        b'"lost_sale_id":"CS01-L000003"}',
        (),
    ),
    "incidents": (
        b"storm",
        b'{"event_time":"2026-11-30 12:00:00.000000","incident":"storm","kind":"storm","phase":"start",'
        b'"start":"2026-11-30 12:00:00.000000","end":"2026-11-30 13:00:00.000000","ramp_up":0.0,"ramp_down":0.0,'
        b'"factor":0.3,"discount":0.0,"categories":[],"products":[]}',
        (),
    ),
    "dead_letters": (
        b"purchases-0-17",
        b"x",
        (
            (b"reason", b"unknown product"),
            (b"topic", b"purchases"),
            (b"partition", b"0"),
            (b"offset", b"17"),
            (b"buried", b'{"purchases":17}'),
        ),
    ),
    "opening": (
        b"yasdg",
        b'{"opened_at":"2026-11-30 09:00:00.000000","started":"2026-11-30 09:00:00.000000","speed":1.0,'
        b'"producer_id":0,"made_from":{}}',
        (),
    ),
    "control": (
        b"incident/sale",
        b'{"name":"sale","kind":"promotion","start":"2026-11-30 12:00:00.000000","end":"2026-11-30 13:00:00.000000",'
        b'"ramp_up":0,"ramp_down":0,"categories":[],"products":["CS01"],"factor":2.5,"discount":1000}',
        (),
    ),
    "changelog": (
        b"CS01",
        b'{"product_id":"CS01","level":19,"initial":20,"sales":1,"sold":1,"stockings":0,"restocked":0,'
        b'"revenue_cents":499,"cost_cents":150,"last_sale":"2026-11-30 12:00:00.000001","offset":0,'
        b'"stocking_offset":-1,"on_order":0,"ordered_at":"","promised":"","margin_cents":349,"lost_sales":0,"lost":0,'
        b'"lost_cents":0,"substituted":0,"last_lost":"","lost_offset":-1}',
        (),
    ),
    "shelves": (
        b"0-0",
        msgspec.msgpack.encode(
            {
                "through": 1_796_040_000_000_000,
                "place": 0,
                "pieces": 1,
                "shelves": {"CS01": [20, 19, 1, 1, 0, 0, 0, 0]},
            }
        ),
        (),
    ),
    "dirty": (
        b"CS01",
        b'{"transaction_time":"2026-11-30 12:00:00.000001","product_id":"CS01","price":4.99,"quantity":1,'
        b'"is_member":false,"member_discount":0.0,"add_supplements":false,"supplement_price":0.0,'
        b'"total_purchase":4.99,"transaction_id":"CS01-000042","total_cost":1.5,"promotion_discount":0.0,'
        b'"substituted_from":null}',
        ((b"yasdg-fault", b"late"), (b"yasdg-fault-id", b"CS01-F000042")),
    ),
    "faults": (
        b"CS01",
        b'{"event_time":"2026-11-30 12:00:00.000001","product_id":"CS01","transaction_id":"CS01-000042",'
        b'"kind":"late","released_at":"2026-11-30 12:03:00.000001","delay":180.0,"fault_id":"CS01-F000042"}',
        (),
    ),
}
"""Key, value and headers of an example message for each topic."""

ID_FIELDS = {
    "purchases": ("transaction_id", "-"),
    "dirty": ("transaction_id", "-"),
    "stockings": ("stocking_id", "-R"),
    "lost_sales": ("lost_sale_id", "-L"),
    "faults": ("fault_id", "-F"),
}
"""The id field with the number of a message among those of its product, and the separator before the number."""

TIME_FIELDS = {
    "purchases": ("transaction_time",),
    "dirty": ("transaction_time",),
    "stockings": ("event_time",),
    "lost_sales": ("event_time", "promised"),
    "incidents": ("event_time", "start", "end"),
    "opening": ("opened_at", "started"),
    "control": ("start", "end"),
    "changelog": ("last_sale", "ordered_at", "promised", "last_lost"),
    "faults": ("event_time", "released_at"),
}

ODD_TIMES = (
    "0001-01-01 00:00:00.000000",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31 23:59:59.999999",
    "9999-12-31T23:59:59-23:59",
    "10000-01-01 00:00:00",
    "0000-00-00 00:00:00",
    "1969-12-31 23:59:59.999999",
    "2024-02-30 00:00:00",
    "2016-12-31 23:59:60",
    "2024-01-01",
    "2024-W01-1",
    "20240101T000000",
    "\uff12\uff10\uff12\uff14-01-01 00:00:00",
    "-0001-01-01 00:00:00",
    "now",
    "",
)
ZONES = ("Z", "+00:00", "+14:00", "-23:59", "+0100", " Europe/Berlin")
BEYOND_64_BITS = (
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "1" + "0" * 40,
    "9" * 5_000,
)
ODD_FLOATS = ("NaN", "Infinity", "-Infinity", "1e300", "-1e300", "1e308", "1e400", "-1e400", "5e-324", "0.1e99999")
NEGATIVE = ("-1", "-0.01", "-1000000000000", "-9223372036854775808", "-0.0")
LARGE = ("1000000000", "4611686018427387904", "9007199254740993", "9223372036854775806")
OTHER_TYPES = ("null", "[]", "{}", "true", "false", '"x"', '""', "[1]", "1.5", '{"a":1}', "0")
ODD_TEXTS = (
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"a\\nb\\r\\u001b[31mred"',
    '"\\u202egnidaer"',
    '"%s%n%d{0}"',
    '"../../etc/passwd"',
    '"<script>alert(1)</script>"',
    '"\'; DROP TABLE inventory; --"',
    '"' + "A" * 70_000 + '"',
)
ODD_VALUES = (
    b"x",
    b" ",
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b'"text"',
    b"[]",
    b"{}",
    b"[{}]",
    b"{",
    b"}",
    b'{"',
    b"\x00",
    b"\n",
    b'{"a":1}',
    b"'single'",
    b"<xml/>",
)
UNKNOWN_PRODUCTS = ("XX99", "", "CS01 ", "cs01", "CS01/../CS02", "Č€😀", "CS01\x00", "A" * 5_000, "%00", "CS01-000001")
OUR_HEADERS = (b"reason", b"topic", b"partition", b"offset", b"buried", b"yasdg-fault", b"yasdg-fault-id",
               b"yasdg-transaction-time", b"original.reason", b"original.buried")  # fmt: skip
ODD_BURIED = (
    b"x",
    b"{}",
    b"[]",
    b"",
    b'{"%s":9223372036854775806}',
    b'{"%s":9223372036854775808}',
    b'{"%s":99999999999999999999999999}',
    b'{"%s":-9}',
    b'{"%s":1e300}',
    b'{"%s":null}',
    b'{"other":1}',
    b"\xff\xfe",
    b"[" * 100_000,
)


# --- Values that are no messages ------------------------------------------------------------------------------------


def _valued(make: Callable[[Random], bytes | None]) -> Strategy:
    return lambda dice, world, topic, real: real._replace(value=make(dice), key=_some_key(dice, real))


def _some_key(dice: Random, real: Record) -> bytes | None:
    return real.key if dice.random() < 0.8 else b"junk"


def _random_bytes(dice: Random) -> bytes:
    return dice.randbytes(dice.choice((1, 2, 7, 100, 3_000)))


VALUES: dict[str, Callable[[Random], bytes | None]] = {
    "odd value": lambda dice: dice.choice(ODD_VALUES),
    "empty value": lambda dice: b"",
    "brackets that are not closed": lambda dice: dice.choice((b"[", b'{"a":', b'[{"a":')) * 100_000,
    "deep array": lambda dice: _nested(dice, b"[", b"]"),
    "deep object": lambda dice: _nested(dice, b'{"a":', b"}"),
    "long text": lambda dice: b'"' + dice.choice((b"A", b"\\u0041", b"\xc3\xa9")) * 160_000 + b'"',
    "long text of a megabyte": lambda dice: b'{"a":"' + b"A" * (MEGABYTE - 100) + b'"}',
    "random megabyte": lambda dice: dice.randbytes(MEGABYTE - 100),
    "long number": lambda dice: b"-" * dice.randrange(2) + b"9" * dice.choice((30, 4_000, 5_000, 200_000)),
    "invalid UTF-8": lambda dice: (
        b'{"product_id":"' + dice.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5")) + b'"}'
    ),
    "byte order mark": lambda dice: b"\xef\xbb\xbf{}",
    "UTF-16": lambda dice: '{"product_id":"CS01"}'.encode("utf-16"),
    "random bytes": _random_bytes,
    "msgpack": lambda dice: msgspec.msgpack.encode({"through": dice.randrange(2**62), "place": 0}),
    "deep msgpack": lambda dice: b"\x91" * dice.choice((500, 5_000, 100_000)) + b"\xc0",
    "schema registry frame": lambda dice: b"\x00" + struct.pack(">I", dice.randrange(2**32)) + dice.randbytes(20),
}


def _nested(dice: Random, begin: bytes, end: bytes) -> bytes:
    depth = dice.choice((200, 1_100, 3_000, 100_000))
    return begin * depth + b"1" + end * depth


# --- Messages of the shop with something changed -------------------------------------------------------------------


class RawJson(NamedTuple):
    """Finished JSON of a field."""

    text: str


def _fields(topic: str, real: Record) -> dict[str, Any]:
    """Return the fields of a message of the shop; those of the example if it has none."""
    for value in (real.value, EXAMPLES[topic][1]):
        try:
            fields = json.loads(value or b"")
        except (ValueError, RecursionError):
            continue
        if isinstance(fields, dict) and fields:
            return fields
    return {"a": 1}


def _json(fields: Mapping[str, Any]) -> bytes:
    """Return JSON without blanks, as the shop writes it; RawJson is inserted unchanged."""
    texts = (
        f"{json.dumps(name)}:{value.text if isinstance(value, RawJson) else _compact(value)}"
        for name, value in fields.items()
    )
    return ("{" + ",".join(texts) + "}").encode("utf-8", "surrogatepass")


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _with_field(choices: Sequence[str], numbers_only: bool = False) -> Strategy:
    """Set one field to one of these values."""

    def strategy(dice: Random, world: World, topic: str, real: Record) -> Record:
        fields = _fields(topic, real)
        numbers = [name for name, value in fields.items() if isinstance(value, int | float)]
        names = numbers if numbers and (numbers_only or dice.random() < 0.3) else list(fields)
        return real._replace(value=_json(fields | {dice.choice(names): RawJson(dice.choice(choices))}))

    return strategy


def _missing_field(dice: Random, world: World, topic: str, real: Record) -> Record:
    fields = _fields(topic, real)
    del fields[dice.choice(list(fields))]
    return real._replace(value=_json(fields))


def _more_fields(dice: Random, world: World, topic: str, real: Record) -> Record:
    more = dice.choice(("1", '{"a":[]}', _nested(dice, b"[", b"]").decode(), '"' + "B" * 200_000 + '"'))
    return real._replace(value=_json(_fields(topic, real) | {"more": RawJson(more)}))


def _duplicate_fields(dice: Random, world: World, topic: str, real: Record) -> Record:
    fields = _fields(topic, real)
    name = dice.choice(list(fields))
    again = f"{json.dumps(name)}:{dice.choice((*OTHER_TYPES, *NEGATIVE))}"
    return real._replace(value=_json(fields)[:-1] + b"," + again.encode() + b"}")


def _odd_time(dice: Random, world: World, topic: str, real: Record) -> Record:
    fields = _fields(topic, real)
    name = dice.choice(TIME_FIELDS[topic])
    return real._replace(value=_json(fields | {name: dice.choice(ODD_TIMES)}))


def _time_zone(dice: Random, world: World, topic: str, real: Record) -> Record:
    fields = _fields(topic, real)
    name = dice.choice(TIME_FIELDS[topic])
    text = dice.choice((str(fields.get(name) or ODD_TIMES[0]), ODD_TIMES[0], ODD_TIMES[2]))
    return real._replace(value=_json(fields | {name: text + dice.choice(ZONES)}))


def _truncated(dice: Random, world: World, topic: str, real: Record) -> Record:
    value = real.value or b"xx"
    return real._replace(value=value[: dice.randrange(len(value))])


def _with_rest(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(value=(real.value or b"") + dice.choice((b"}", b"x", b"\x00", b" ", real.value or b"{}")))


def _flipped(dice: Random, world: World, topic: str, real: Record) -> Record:
    value = bytearray(real.value or b"x")
    for _ in range(dice.choice((1, 1, 3))):
        value[dice.randrange(len(value))] ^= 1 << dice.randrange(8)
    return real._replace(value=bytes(value))


def _copy(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real


def _other_partition(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(partition=dice.randrange(world.partitions_of(topic)))


def _numbered(number_of: Callable[[Random, int], str]) -> Strategy:
    """Change the number of the message among those of its product."""

    def strategy(dice: Random, world: World, topic: str, real: Record) -> Record:
        fields = _fields(topic, real)
        name, mark = ID_FIELDS[topic]
        digits = str(fields.get(name, "")).rpartition(mark)[2]
        number = int(digits) if digits.isdecimal() and len(digits) < 20 else 1
        changed = {name: f"{fields.get('product_id', '')}{mark}{number_of(dice, number)}"}
        if topic == "faults" and dice.random() < 0.5:
            changed["transaction_id"] = changed[name].replace("-F", "-")
        return real._replace(value=_json(fields | changed))

    return strategy


def _next_with_an_odd_field(dice: Random, world: World, topic: str, real: Record) -> Record:
    """Make a message that follows those of the shop, with a value that none of them can have."""
    following = _numbered(lambda dice, number: f"{number + 1:06d}")(dice, world, topic, real)
    choices = (*BEYOND_64_BITS, *ODD_FLOATS, *NEGATIVE, *LARGE)
    return _with_field(choices, numbers_only=True)(dice, world, topic, following)


def _next_at_an_odd_time(dice: Random, world: World, topic: str, real: Record) -> Record:
    following = _numbered(lambda dice, number: f"{number + 1:06d}")(dice, world, topic, real)
    return _odd_time(dice, world, topic, following)


NUMBERS: dict[str, Callable[[Random, int], str]] = {
    "next number": lambda dice, number: f"{number + dice.randrange(1, 4):06d}",
    "number far ahead": lambda dice, number: f"{number + 10 ** dice.randrange(3, 17):06d}"[:18],
    "old number": lambda dice, number: f"{dice.randrange(max(1, number)):06d}",
    "number zero": lambda dice, number: "000000",
    "odd number": lambda dice, number: dice.choice(
        ("9" * 18, "9" * 19, "9" * 5_000, "-00001", f"{number}", f"{number:06d} ", "1_000000", "٠٠٠٠٠١", "0x000001", "")
    ),
}


def _other_product(dice: Random, world: World, topic: str, real: Record) -> Record:
    """Use another product, with its key and in its own partition or not."""
    fields = _fields(topic, real)
    before, after = str(fields.get("product_id", "")), dice.choice(list(world.products))
    return _of_product(dice, topic, real, fields, before, after)


def _unknown_product(dice: Random, world: World, topic: str, real: Record) -> Record:
    fields = _fields(topic, real)
    return _of_product(dice, topic, real, fields, str(fields.get("product_id", "")), dice.choice(UNKNOWN_PRODUCTS))


def _of_product(dice: Random, topic: str, real: Record, fields: dict[str, Any], before: str, after: str) -> Record:
    renamed = {name: value.replace(before, after) if before and isinstance(value, str) else value
               for name, value in fields.items()}  # fmt: skip
    key = after.encode("utf-8", "surrogatepass") if dice.random() < 0.7 else real.key
    return real._replace(value=_json({**renamed, "product_id": after}), key=key)


# --- Keys, headers, timestamps -------------------------------------------------------------------------------------


def _tombstone(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(value=None)


def _junk_tombstone(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(value=None, key=dice.choice((b"junk", b"", b"\xff\xfe", b"XX99")))


def _tombstone_of_product(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(value=None, key=dice.choice(list(world.products)).encode())


def _without_key(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(key=None)


def _odd_key(dice: Random, world: World, topic: str, real: Record) -> Record:
    keys = (b"", b"\xff\xfe", b"\x00", b"XX99", b"/", b"incident/", b"end/", b"gap/", b"0-0", b"A" * 100_000,
            dice.choice(list(world.products)).encode(), dice.randbytes(8))  # fmt: skip
    return real._replace(key=dice.choice(keys))


def _headers_like_ours(dice: Random, world: World, topic: str, real: Record) -> Record:
    values = (
        b"",
        None,
        b"x",
        b"0",
        b"-1",
        b"99999999999999999999",
        b"\xff\xfe",
        b"corrupt",
        b"late",
        b"duplicate",
        b"CS01-F999999999",
        b"0001-01-01 00:00:00.000000",
        b"[" * 50_000,
        world.name("purchases").encode(),
    )
    some = dice.sample(OUR_HEADERS, dice.randrange(1, len(OUR_HEADERS)))
    return real._replace(headers=tuple((name, dice.choice(values)) for name in some))


def _odd_headers(dice: Random, world: World, topic: str, real: Record) -> Record:
    names = (b"", b" ", b"\x00", b"a\nb", "\U0001f600".encode(), b"A" * 10_000, b"__proto__", b"reason")
    return real._replace(headers=tuple((dice.choice(names), dice.choice((b"", None, b"\xff"))) for _ in range(3)))


def _header_names_not_utf8(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(headers=((dice.choice((b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"reason\xff")), b"x"),))


def _many_headers(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(headers=((b"h", b"v"),) * dice.choice((100, 5_000, 50_000)))


def _odd_timestamp(dice: Random, world: World, topic: str, real: Record) -> Record:
    times = (-1, 0, 1, world.now - 400 * DAY_MS, world.now + HOUR_MS // 2, world.now - HOUR_MS)
    return real._replace(timestamp=dice.choice(times))


def _timestamp_far_ahead(dice: Random, world: World, topic: str, real: Record) -> Record:
    """Use a time that Kafka rejects by default (message.timestamp.after.max.ms), but not every cluster does."""
    return real._replace(timestamp=dice.choice((world.now + 400 * DAY_MS, YEAR_9999_MS, 2**62)))


EVERYWHERE: dict[str, Strategy] = {
    **{name: _valued(make) for name, make in VALUES.items()},
    "copy": _copy,
    "other partition": _other_partition,
    "truncated": _truncated,
    "with a rest": _with_rest,
    "flipped bits": _flipped,
    "tombstone": _tombstone,
    "tombstone of a junk key": _junk_tombstone,
    "tombstone of a product": _tombstone_of_product,
    "without key": _without_key,
    "odd key": _odd_key,
    "headers like ours": _headers_like_ours,
    "odd headers": _odd_headers,
    "header names that are not UTF-8": _header_names_not_utf8,
    "many headers": _many_headers,
    "odd timestamp": _odd_timestamp,
    "timestamp far ahead": _timestamp_far_ahead,
}
IN_JSON: dict[str, Strategy] = {
    "field beyond 64 bits": _with_field(BEYOND_64_BITS, numbers_only=True),
    "field of an odd float": _with_field(ODD_FLOATS, numbers_only=True),
    "negative field": _with_field(NEGATIVE, numbers_only=True),
    "large field": _with_field(LARGE, numbers_only=True),
    "field of another type": _with_field(OTHER_TYPES),
    "field of an odd text": _with_field(ODD_TEXTS),
    "missing field": _missing_field,
    "more fields": _more_fields,
    "duplicate fields": _duplicate_fields,
}
WITH_TIMES: dict[str, Strategy] = {"odd time": _odd_time, "time zone": _time_zone}
WITH_PRODUCT: dict[str, Strategy] = {"other product": _other_product, "unknown product": _unknown_product}


# --- Topics with a format of their own -----------------------------------------------------------------------------


def _keyed(make: Callable[[Random, World], tuple[bytes, Any]]) -> Strategy:
    """Make a record of the control topic: its key, and its fields as JSON."""

    def strategy(dice: Random, world: World, topic: str, real: Record) -> Record:
        key, fields = make(dice, world)
        return real._replace(key=key, value=_json(fields) if isinstance(fields, dict) else fields)

    return strategy


def _moment(world: World, minutes: int) -> str:
    """Return an event time so many minutes from now, at a full minute."""
    return _time_text((world.now // 60_000 + minutes) * 60_000)


def _time_text(milliseconds: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds)).strftime("%Y-%m-%d %H:%M:%S.%f")


def _incident(dice: Random, world: World, **changed: Any) -> tuple[bytes, dict[str, Any]]:
    name = f"hostile-{dice.randrange(10**6)}"
    start = dice.choice((2, 3, 10, 100))
    fields = {
        "name": name,
        "kind": "custom",
        "start": _moment(world, start),
        "end": _moment(world, start + dice.choice((1, 60))),
        "ramp_up": 0,
        "ramp_down": 0,
        "categories": [],
        "products": [],
        "factor": 1.0,
        "discount": 0,
    }
    return f"incident/{name}".encode(), fields | changed


def _incident_with(name: str, *choices: str) -> Strategy:
    return _keyed(lambda dice, world: _incident(dice, world, **{name: RawJson(dice.choice(choices))}))


def _odd_span(dice: Random, world: World) -> tuple[bytes, Any]:
    start, end = dice.choice(
        (
            (_moment(world, 5), _moment(world, 3)),
            (_moment(world, 3), _moment(world, 3)),
            (_moment(world, 3)[:17] + "17.123456", _moment(world, 4)[:17] + "59.999999"),
            (ODD_TIMES[0], ODD_TIMES[2]),
            (_moment(world, 3), ODD_TIMES[2]),
            (_moment(world, -10_000), _moment(world, 60)),
            (_moment(world, 3) + "+14:00", _moment(world, 90) + "Z"),
        )
    )
    # Without effect on demand: whether it is accepted or not, the shop sells.
    return _incident(dice, world, start=start, end=end, factor=1.0)


def _gap(after: int, until: int) -> Strategy:
    """Make a gap that begins and ends so many minutes from now."""

    def make(dice: Random, world: World) -> tuple[bytes, Any]:
        texts = _moment(world, after), _moment(world, until)
        return f"gap/{texts[0]}/{texts[1]}".encode(), {"after": texts[0], "until": texts[1]}

    return _keyed(make)


def _gap_of_seconds(after: int, until: int) -> Strategy:
    """Make a gap that begins and ends so many seconds from now: over sales just made or about to be made."""

    def make(dice: Random, world: World) -> tuple[bytes, Any]:
        texts = _time_text(world.now + after * 1000), _time_text(world.now + until * 1000)
        return f"gap/{texts[0]}/{texts[1]}".encode(), {"after": texts[0], "until": texts[1]}

    return _keyed(make)


def _odd_gap(dice: Random, world: World) -> tuple[bytes, Any]:
    after, until = dice.choice(ODD_TIMES), dice.choice(ODD_TIMES)
    return b"gap/odd", {"after": after, "until": until}


def _odd_ending(dice: Random, world: World) -> tuple[bytes, Any]:
    name = dice.choice((b"", b"hostile", b"storm", b"\xff", b"nobody"))
    return b"end/" + name, dice.choice(({"end": dice.choice(ODD_TIMES)}, {"end": _moment(world, 3)}, {"end": 1}, b"x"))


YEAR = 366 * 1440
CONTROL: dict[str, Strategy] = {
    "factor of an odd float": _incident_with("factor", "1e300", "1e308", "1e400", "NaN", "Infinity", "101", "1e18"),
    "negative factor": _incident_with("factor", "-1", "-1e300", "-0.5", "-1e-300"),
    "odd discount": _incident_with("discount", "1000000", "10000", "10001", "-1", "99999999999999999999", "1.5"),
    "odd ramps": _incident_with("ramp_up", "-60000000", "1", "9223372036854775807", "99999999999999999999", "1e300"),
    "odd kind": _incident_with("kind", '"war"', '""', '"supply"', '"' + "k" * 10_000 + '"'),
    "odd categories": _incident_with("categories", '["Nothing"]', '[""]', '["\\u0000"]', "[1]", '"Classics"'),
    "odd products": _incident_with("products", '["XX99"]', '["' + "X" * 100_000 + '"]', "[null]", "{}"),
    "odd name": _incident_with("name", '""', '"a b"', '"a\\nb"', '"' + "n" * 100_000 + '"', '"\\ud800"', '"/"'),
    "odd span": _keyed(_odd_span),
    "gap a year ahead": _gap(YEAR, 2 * YEAR),
    "gap from now to next year": _gap(0, YEAR),
    "gap of the future": _gap(1, 30),
    "gap of the past": _gap(-30, -1),
    "gap over what was sold": _gap_of_seconds(-10, -4),
    "gap that ends ahead": _gap_of_seconds(-4, 200),
    "gap that ends before it begins": _gap(10, -10),
    "gap before the shop": _gap(-3 * YEAR, -2 * YEAR),
    "odd gap": _keyed(_odd_gap),
    "odd ending": _keyed(_odd_ending),
    "somebody is here": _keyed(lambda dice, world: (b"here", dice.choice((b"", b"x", b"\xff", b"0" * 100_000)))),
    "unknown kind of record": _keyed(lambda dice, world: (dice.choice((b"price/CS01", b"", b"///")), {"a": 1})),
}


def _second_opening(dice: Random, world: World, topic: str, real: Record) -> Record:
    fields = _fields("opening", real)
    changes: tuple[dict[str, Any], ...] = (
        {"opened_at": dice.choice(ODD_TIMES)},
        {"started": dice.choice(ODD_TIMES)},
        {"producer_id": RawJson(dice.choice(BEYOND_64_BITS + NEGATIVE))},
        {"producer_id": dice.randrange(10)},
        {"made_from": {}},
        {"made_from": {"SALES.seed": "7"}},
        {"speed": RawJson(dice.choice(ODD_FLOATS))},
    )
    return real._replace(value=_json(fields | dice.choice(changes)))


def _old_opening(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(value=b'{"opened_at":"2024-01-01 00:00:00.000000"}')


OPENING: dict[str, Strategy] = {"second opening": _second_opening, "opening of an old version": _old_opening}


def _row_ahead(dice: Random, world: World, topic: str, real: Record) -> Record:
    fields = _fields("changelog", real)
    name = dice.choice(("sales", "offset", "lost_offset", "stocking_offset", "stockings", "lost_sales", "level"))
    number = fields.get(name)
    number = number if isinstance(number, int) else 0
    return real._replace(value=_json(fields | {name: number + dice.choice((-1, 1, 1_000, 10**9, 2**62 - 1))}))


def _row_of_another_key(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(key=dice.choice(list(world.products)).encode())


CHANGELOG: dict[str, Strategy] = {
    "row ahead or behind": _row_ahead,
    "row under the key of another product": _row_of_another_key,
}


def _kept(dice: Random, real: Record) -> dict[str, Any]:
    try:
        kept = msgspec.msgpack.decode(real.value or b"")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        kept = None
    return kept if isinstance(kept, dict) else msgspec.msgpack.decode(EXAMPLES["shelves"][1])


def _shelves_with(change: Callable[[Random, World, dict[str, Any]], dict[str, Any]]) -> Strategy:
    def strategy(dice: Random, world: World, topic: str, real: Record) -> Record:
        key = dice.choice((b"0-0", b"1-0", b"0-1", real.key, b"junk"))
        kept = _kept(dice, real)
        return real._replace(key=key, value=msgspec.msgpack.encode(kept | change(dice, world, kept)))

    return strategy


def _odd_levels(dice: Random, world: World, kept: dict[str, Any]) -> dict[str, Any]:
    """Return shelves of a past time, with levels that they never had."""
    odd = dice.choice((-1, 0, 10**9, 2**63 - 1, 2**64 - 1, -(2**63)))
    place = dice.randrange(8)
    shelves = {
        product: [odd if n == place else value for n, value in enumerate(values)]
        for product, values in kept["shelves"].items()
    }
    return {"shelves": shelves}


def _later_shelves(dice: Random, world: World, kept: dict[str, Any]) -> dict[str, Any]:
    later = dice.choice((1, 1_000_000, 60_000_000, 10**15, 2**62, 2**64 - 1 - 10**17, -(10**16)))
    return {"through": max(-(2**63), min(2**64 - 1, kept["through"] + later))}


def _odd_pieces(dice: Random, world: World, kept: dict[str, Any]) -> dict[str, Any]:
    return {dice.choice(("place", "pieces")): dice.choice((-1, 0, 1, 2, 2**63, 2**64 - 1))}


def _odd_shelves(dice: Random, world: World, kept: dict[str, Any]) -> dict[str, Any]:
    values = [20, 20, 0, 0, 0, 0, 0, 0]
    choices: tuple[Any, ...] = ({}, None, [], {"XX99": values}, {next(iter(world.products)): values[:3]},
                                {next(iter(world.products)): ["x"] * 8}, {"a": {"b": values}})  # fmt: skip
    return {"shelves": dice.choice(choices)}


SHELVES: dict[str, Strategy] = {
    "odd levels": _shelves_with(_odd_levels),
    "later shelves": _shelves_with(_later_shelves),
    "odd pieces": _shelves_with(_odd_pieces),
    "odd shelves": _shelves_with(_odd_shelves),
    "shelves of an odd type": _shelves_with(
        lambda dice, world, kept: {dice.choice(("through", "place", "pieces")): dice.choice(("x", None, 1.5, [], True))}
    ),
}


def _odd_buried(dice: Random, world: World, topic: str, real: Record) -> Record:
    name = world.name(dice.choice(("purchases", "lost_sales"))).encode()
    value = dice.choice(ODD_BURIED)
    buried = (b"buried", value.replace(b"%s", name))
    return real._replace(headers=(*(each for each in real.headers if each[0] != b"buried"), buried))


def _letter_without_headers(dice: Random, world: World, topic: str, real: Record) -> Record:
    return real._replace(headers=())


def _odd_letter(dice: Random, world: World, topic: str, real: Record) -> Record:
    name = dice.choice((b"topic", b"partition", b"offset", b"reason"))
    values = (b"", b"x", b"-1", b"\xff", b"99999999999999999999", world.name("purchases").encode(), b"\xd9\xa3", b"1_0")
    return real._replace(headers=tuple((n, dice.choice(values)) if n == name else (n, v) for n, v in real.headers))


LETTERS: dict[str, Strategy] = {
    "odd buried": _odd_buried,
    "letter without headers": _letter_without_headers,
    "letter with an odd header": _odd_letter,
}


def _odd_fault_labels(dice: Random, world: World, topic: str, real: Record) -> Record:
    fault = dice.choice((b"corrupt", b"late", b"duplicate", b"dropped", b"war", b"", b"\xff"))
    fault_id = dice.choice((b"CS01-F000001", b"CS01-F" + b"9" * 30, b"x", b"", b"\xff", b"CS01-F\xd9\xa3"))
    time = dice.choice(ODD_TIMES).encode()
    labels = (b"yasdg-fault", fault), (b"yasdg-fault-id", fault_id), (b"yasdg-transaction-time", time)
    return real._replace(headers=labels[: dice.randrange(1, 4)])


def _odd_fault_kind(dice: Random, world: World, topic: str, real: Record) -> Record:
    fields = _fields("faults", real)
    changes: tuple[dict[str, Any], ...] = (
        {"kind": dice.choice(("war", "", "dropped", "duplicate"))},
        {"released_at": dice.choice((None, *ODD_TIMES))},
        {"delay": RawJson(dice.choice(ODD_FLOATS))},
    )
    return real._replace(value=_json(fields | dice.choice(changes)))


def _of(topic: str) -> dict[str, Strategy]:
    found = dict(EVERYWHERE)
    if topic != "shelves":
        found |= IN_JSON
    if topic in TIME_FIELDS:
        found |= WITH_TIMES
    if topic in ("products", "purchases", "stockings", "lost_sales", "changelog", "dirty", "faults"):
        found |= WITH_PRODUCT
    if topic in ID_FIELDS:
        found |= {name: _numbered(number_of) for name, number_of in NUMBERS.items()}
        found |= {"next with an odd field": _next_with_an_odd_field, "next at an odd time": _next_at_an_odd_time}
    found |= {
        "opening": OPENING,
        "control": CONTROL,
        "changelog": CHANGELOG,
        "shelves": SHELVES,
        "dead_letters": LETTERS,
        "dirty": {"odd labels": _odd_fault_labels},
        "faults": {"odd fault": _odd_fault_kind},
    }.get(topic, {})
    return found


STRATEGIES: dict[str, dict[str, Strategy]] = {topic: _of(topic) for topic in TOPICS}
"""All strategies by kind of topic and name."""

BIG = ("long text of a megabyte", "random megabyte", "long text", "brackets that are not closed", "many headers")
"""Strategies whose records have 100 KB and more."""


# --- Dealing -------------------------------------------------------------------------------------------------------


def hostile(dice: Random, world: World, topic: str, strategy: str) -> Record:
    """Make a record by a strategy of a kind of topic."""
    real = dice.choice(known) if (known := world.real.get(topic)) else _example(dice, world, topic)
    return STRATEGIES[topic][strategy](dice, world, topic, real)


def _example(dice: Random, world: World, topic: str) -> Record:
    key, value, headers = EXAMPLES[topic]
    return Record(key, value, headers, world.now, dice.randrange(world.partitions_of(topic)))


class Deck:
    """All strategies of some topics, dealt repeatedly: none is repeated before each has been dealt once.

    `only`, `without`: `topic`, `topic:strategy` or `:strategy`, where a part of the strategy's name is enough.
    """

    def __init__(self, dice: Random, only: Sequence[str] = (), without: Sequence[str] = ()) -> None:
        self._dice = dice
        self._all = [
            (topic, name)
            for topic in TOPICS
            for name in STRATEGIES[topic]
            if (not only or _is_among(only, topic, name)) and not _is_among(without, topic, name)
        ]
        if not self._all:
            raise ValueError(f"no such strategy: {', '.join(only)}")
        self._rest: list[tuple[str, str]] = []
        self._rounds = 0

    def deal(self) -> tuple[str, str]:
        """Return the next topic and strategy."""
        while not self._rest:
            keep = self._rounds == 0 or len(self._all) < 20
            self._rest = [
                card for card in self._all if keep or card[1] not in BIG or not self._dice.randrange(BIG_ONE_IN)
            ]
            self._dice.shuffle(self._rest)
            self._rounds += 1
        return self._rest.pop()


def _is_among(asked: Sequence[str], topic: str, name: str) -> bool:
    parts = (each.partition(":") for each in asked)
    return any(its_topic in ("", topic) and part in name for its_topic, _, part in parts)


COMPRESSIONS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (0, bytes),
    "gzip": (1, gzip_encode),
    "snappy": (2, snappy_encode),
    "lz4": (3, lz4_encode),
    "zstd": (4, zstd_encode),
}
"""By name: its number in a batch, and its function."""

WAYS = ("plain", "plain", "idempotent", "committed", "aborted", "abandoned")
"""How records are appended: without a producer id, with one, or in a transaction that ends in one of three ways."""


@dataclass(frozen=True)
class Attack:
    """Records that are appended together.

    Attributes
    ----------
    records
        By kind of topic: the names of their strategies, and the records.
    compression
        One of COMPRESSIONS.
    way
        One of WAYS.
    """

    records: Mapping[str, Sequence[tuple[str, Record]]]
    compression: str
    way: str

    def batches(self) -> Iterator[tuple[str, int, list[Record]]]:
        """Yield kind of topic, partition and records of each required batch."""
        for topic, dealt in self.records.items():
            parts: dict[int, list[Record]] = {}
            for _, record in dealt:
                parts.setdefault(record.partition, []).append(record)
            for partition, records in parts.items():
                yield from ((topic, partition, some) for some in _in_size(records))


def _in_size(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield records in groups that fit into a batch."""
    some: list[Record] = []
    size = 0
    for record in records:
        own = size_of(record)
        if some and size + own > BATCH_BYTES:
            yield some
            some, size = [], 0
        some.append(record)
        size += own
    if some:
        yield some


def size_of(record: Record) -> int:
    """Return the maximum number of bytes that a record takes."""
    headers = sum(len(name) + len(value or b"") + 10 for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + 40


def refused_alone(strategy: str) -> bool:
    """Return whether Kafka may reject a record of this strategy with its whole batch: it is then sent alone."""
    return strategy in ("timestamp far ahead", "odd timestamp", "without key", "tombstone of a junk key", *BIG)


def attacks(dice: Random, deck: Deck, world: Callable[[], World]) -> Iterator[Attack]:
    """Yield attacks without end. `world`: called before each."""
    while True:
        known = world()
        records: dict[str, list[tuple[str, Record]]] = {}
        for _ in range(dice.randrange(1, MOST_RECORDS)):
            topic, strategy = deck.deal()
            dealt = strategy, hostile(dice, known, topic, strategy)
            if refused_alone(strategy):
                yield _attack(dice, {topic: [dealt]})
            else:
                records.setdefault(topic, []).append(dealt)
        if records:
            yield _attack(dice, records)


def _attack(dice: Random, records: Mapping[str, Sequence[tuple[str, Record]]]) -> Attack:
    return Attack(records, dice.choice(list(COMPRESSIONS)), dice.choice(WAYS))


# --- Message format 2 ----------------------------------------------------------------------------------------------

_HEAD = struct.Struct(">qiibI")  # base offset, length, leader epoch, magic, CRC
_BODY = struct.Struct(">hiqqqhii")  # attributes, last offset delta, first and max time, id, epoch, sequence, count
_MAGIC = 2
_UNCOUNTED = 12  # bytes at the start that are not part of the length
TRANSACTIONAL = 0x10
NO_PRODUCER = -1


def record_batch(
    records: Sequence[Record],
    compression: str = "none",
    producer_id: int = NO_PRODUCER,
    epoch: int = -1,
    sequence: int = -1,
    transactional: bool = False,
) -> bytes:
    """Encode records as a batch. aiokafka's builder accepts only header names in UTF-8; this one accepts any bytes."""
    number, compress = COMPRESSIONS[compression]
    first = records[0].timestamp
    data = compress(b"".join(_encoded(record, delta, first) for delta, record in enumerate(records)))
    body = _BODY.pack(
        number | (TRANSACTIONAL if transactional else 0), len(records) - 1, first,
        max(record.timestamp for record in records), producer_id, epoch, sequence, len(records),
    ) + data  # fmt: skip
    return _HEAD.pack(0, _HEAD.size + len(body) - _UNCOUNTED, -1, _MAGIC, calc_crc32c(body)) + body


def _encoded(record: Record, offset_delta: int, first: int) -> bytes:
    body = bytearray(b"\x00")
    encode_varint(record.timestamp - first, body.append)
    encode_varint(offset_delta, body.append)
    _put(body, record.key)
    _put(body, record.value)
    encode_varint(len(record.headers), body.append)
    for name, value in record.headers:
        _put(body, name)
        _put(body, value)
    length = bytearray()
    encode_varint(len(body), length.append)
    return bytes(length + body)


def _put(into: bytearray, content: bytes | None) -> None:
    encode_varint(-1 if content is None else len(content), into.append)
    into += content or b""
