"""Messages per second that one process appends to a topic with 8 partitions: ours and others, in turn.

    make bench-produce
    make bench-produce ARGS="--messages 200000 --rounds 2"

- ours: simulation, encoding and append by the product's own classes, default configuration, 500,000 sales per second;
- librdkafka, the client in C, from Python: `produce()` of prepared bytes, with and without compression. The messages
  and their partitions are ours, 100,000 repeated; the faster of the two is the reference;
- Apache Kafka's own ProducerPerformance, in Java, with the values of ours;
- Faust's `await topic.send()` of a record, as in a tutorial (plain/send.py);
- the original: kafka-python, a KafkaProducer for each message; without its sleeps.

Each runs in a separate process and reports the time from its first message to the last acknowledgement of the cluster;
at the end the messages in the log are counted. All wait for all replicas (acks=all), of which there is one.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path

from ours import configured, first, ours
from stage import FULL_SPEED, MAX_RATE, PLAIN, Outside, create_topics, delete_topics, interleaved, kafka, run
from table import compared, limit, ratio

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.embedded.jars import JarCache
from yasdg_app.kafka.embedded.java import find_java
from yasdg_app.kafka.producer import new_producer_id
from yasdg_app.shop.plan import Plan

DISTINCT = 100_000  # prepared messages
BATCH_BYTES = 1_000_000
LINGER = 20  # milliseconds
OURS, NONE, ZSTD = "YASDG", "librdkafka", "librdkafka, zstd"
JAVA, FAUST, ORIGINAL = "ProducerPerformance, lz4", "Faust topic.send()", "the original"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2_000_000, help="messages of the fast producers")
    parser.add_argument("--faust-messages", type=int, default=20_000)
    parser.add_argument("--original-messages", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contender", nargs=3, metavar=("NAME", "SERVERS", "TOPIC"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        name, servers, topic = arguments.contender
        sent, seconds = CONTENDERS[name](servers, topic, arguments.messages)
        print(json.dumps({"sent": sent, "seconds": seconds}))
        return
    with kafka() as (folder, servers):
        payloads = folder / "payloads"
        payloads.write_bytes(b"\n".join(row.value for _, row in first(DISTINCT, plan())))
        outside = 0

        def rate(name: str) -> float:
            """Messages per second of one contender on a separate topic; checks that all of them are in the log."""
            nonlocal outside
            outside += 1
            topic = f"bench{outside}.purchases"
            create_topics(servers, topic)
            try:
                if name == JAVA:
                    result = java(servers, topic, arguments.messages, payloads)
                elif name == FAUST:
                    result = faust(servers, topic, arguments.faust_messages)
                else:
                    count = arguments.original_messages if name == ORIGINAL else arguments.messages
                    result = run(__file__, "--messages", str(count), "--contender", name, servers, topic)
                logged = Outside(servers, topic).end(topic)
                if logged != result["sent"]:
                    raise SystemExit(f"{name}: {logged} messages are in the log, {result['sent']} were sent.")
                return float(result["sent"] / result["seconds"])
            finally:
                delete_topics(servers, f"bench{outside}")

        names = (OURS, NONE, ZSTD, JAVA, FAUST, ORIGINAL)
        rates = interleaved({name: lambda name=name: rate(name) for name in names}, arguments.rounds)
    reference = max(NONE, ZSTD, key=lambda name: sorted(rates[name])[arguments.rounds // 2])
    print(compared(rates, reference, "messages/s"))
    print(limit(f"{OURS} / {reference}", ratio(rates, OURS, reference), 0.8))
    print(limit(f"{OURS} / {ORIGINAL}", ratio(rates, OURS, ORIGINAL), 20_000))


def plan() -> Plan:
    """The plan of a shop with the default configuration, except for its rate."""
    settings, products = configured({f"YASDG_{name}": value for name, value in FULL_SPEED.items()})
    return Plan.of(settings, products, time.time_ns() // 1000 - 3_600_000_000)


# --- The contenders: number of messages sent, and the seconds that it took ---


def by_us(servers: str, topic: str, count: int) -> tuple[int, float]:
    due = plan()

    async def sell() -> tuple[int, float]:
        producer_id = await new_producer_id(Connection(servers))
        began = time.monotonic()
        sent = await ours(servers, producer_id, topic, due, due.opened_at + count * 1_000_000 // MAX_RATE)
        return sent, time.monotonic() - began

    return asyncio.run(sell())


def by_librdkafka(servers: str, topic: str, count: int, compression: str = "none") -> tuple[int, float]:
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": servers,
            "acks": "all",
            "compression.type": compression,
            "linger.ms": LINGER,
            "batch.size": BATCH_BYTES,
            "batch.num.messages": 100_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
        }
    )
    made = [(row.key, row.value, row.timestamp, partition) for partition, row in first(DISTINCT, plan())]
    produce, poll = producer.produce, producer.poll
    began = time.monotonic()
    for number, (key, value, timestamp, partition) in enumerate(islice(cycle(made), count)):
        while True:
            try:
                produce(topic, value, key, partition, timestamp=timestamp)
                break
            except BufferError:
                poll(0.01)
        if not number % 10_000:
            poll(0)
    left = producer.flush(120)
    assert not left, f"{left} messages were not delivered"
    return count, time.monotonic() - began


def by_the_original(servers: str, topic: str, count: int) -> tuple[int, float]:
    from kafka import KafkaProducer

    values = [json.loads(row.value) for _, row in first(count, plan())]
    began = time.monotonic()
    for value in values:
        producer = KafkaProducer(
            bootstrap_servers=servers, value_serializer=lambda v: json.dumps(v, default=vars).encode("utf-8")
        )
        producer.send(topic, value=value)
        del producer  # flushes its buffer
    return count, time.monotonic() - began


CONTENDERS = {
    OURS: by_us,
    NONE: by_librdkafka,
    ZSTD: lambda servers, topic, count: by_librdkafka(servers, topic, count, "zstd"),
    ORIGINAL: by_the_original,
}


def java(servers: str, topic: str, count: int, payloads: Path) -> dict[str, float]:
    """Kafka's own tool, with Java's defaults; the seconds are those it reports, without the start of Java."""
    properties = (
        f"bootstrap.servers={servers}", "acks=all", "compression.type=lz4", f"batch.size={BATCH_BYTES}",
        f"linger.ms={LINGER}", "max.request.size=2000000", "buffer.memory=268435456",
    )  # fmt: skip
    command = [
        str(find_java()), "-Xmx1g", "-cp", JarCache().class_path, "org.apache.kafka.tools.ProducerPerformance",
        "--topic", topic, "--num-records", str(count), "--throughput", "-1", "--payload-file", str(payloads),
        "--producer-props", *properties,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"ProducerPerformance failed:\n{done.stdout}{done.stderr}")
    # "2000000 records sent, 650000.1 records/sec (170.00 MB/sec), 300.0 ms avg latency, ..."
    words = done.stdout.splitlines()[-1].split()
    return {"sent": int(words[0]), "seconds": int(words[0]) / float(words[3])}


def faust(servers: str, topic: str, count: int) -> dict[str, float]:
    os.environ |= {"SERVERS": servers, "PURCHASES": topic}
    return run(sys.executable, "-m", "faust", "-A", "send", "send", str(count), cwd=PLAIN)


if __name__ == "__main__":
    main()
