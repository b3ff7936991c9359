"""The ids in messages, the numbers that they contain, and the partition of a product."""

import re

import orjson
from aiokafka.partitioner import murmur2

NUMBER = re.compile("[0-9]{6,18}")


def default_partition(product_id: str, partitions: int) -> int:
    """Return the partition of a product's messages, by Kafka's default partitioner."""
    return int((murmur2(product_id.encode()) & 0x7FFFFFFF) % partitions)


def json_text(name: str) -> str:
    """Return a product id as it is written in JSON, without its quotes. Ids have no control characters."""
    return orjson.dumps(name).decode()[1:-1] if '"' in name or "\\" in name else name


def id_bytes(product_id: str) -> int:
    """Return the bytes that a product id takes in JSON, in UTF-8 and without its quotes."""
    return len(json_text(product_id).encode())


def transaction_id(product_id: str, number: int) -> str:
    """Return the id of the `number`-th sale of a product."""
    return f"{product_id}-{number:06d}"


def lost_sale_id(product_id: str, number: int) -> str:
    """Return the id of the `number`-th lost sale of a product."""
    return f"{product_id}-L{number:06d}"


def fault_id(product_id: str, number: int) -> str:
    """Return the id of the fault of the `number`-th sale of a product."""
    return f"{product_id}-F{number:06d}"


def restock_number(product_id: str, stocking_id: str) -> int | None:
    """Return the number in a stocking_id; None if it is not one of this product."""
    number = stocking_id.removeprefix(f"{product_id}-R")
    return int(number) if NUMBER.fullmatch(number) and stocking_id == f"{product_id}-R{int(number):06d}" else None


def fault_number(product_id: str, text: str) -> int:
    """Return the number in a fault_id. Raises ValueError if it is not one of this product."""
    number = int(text.removeprefix(f"{product_id}-F"))
    if text != fault_id(product_id, number):
        raise ValueError(text)
    return number


def sale_number(product_id: str, text: str) -> int | None:
    """Return the number in a transaction_id; None if it is not one of this product."""
    number = text.removeprefix(f"{product_id}-")
    return int(number) if NUMBER.fullmatch(number) and text == transaction_id(product_id, int(number)) else None
