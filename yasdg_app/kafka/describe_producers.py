"""Kafka's DescribeProducers (KIP-664, API key 61), which aiokafka lacks: the producers that a broker remembers.

When the records of a partition were deleted, no batch says any more how many records a producer has appended. The
broker still knows, until it forgets the producer (`producer.id.expiration.ms`).
"""

from collections.abc import Sequence
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from yasdg_app.kafka.client import check

API_KEY = 61


class DescribeProducersResponse_v0(Response):
    """The producers of each partition that the broker remembers."""

    API_KEY = API_KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "active_producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("current_txn_start_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersRequest_v0(RequestStruct):
    """The request as it is sent."""

    FLEXIBLE_VERSION = True
    API_KEY = API_KEY
    API_VERSION = 0
    RESPONSE_TYPE = DescribeProducersResponse_v0
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")), ("partition_indexes", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersRequest(Request[DescribeProducersRequest_v0]):
    """Requests the producers of a partition from its leader."""

    API_KEY = API_KEY

    def __init__(self, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition

    def build(self, request_struct_class: type[DescribeProducersRequest_v0]) -> DescribeProducersRequest_v0:
        """Return the request as it is sent."""
        return request_struct_class([(self._topic, [self._partition], {})], {})


def last_sequence(response: Any, producer_id: int) -> int | None:
    """Return the sequence number of a producer's last record; None if the broker does not remember the producer.

    Raises KafkaError if the response has an error.
    """
    ((_, partitions, _),) = response.topics
    ((_, code, _, producers, _),) = partitions
    check(code)
    found: Sequence[int] = [sequence for each, _, sequence, *_ in producers if each == producer_id]
    return found[0] if found and found[0] >= 0 else None
