"""The shop in Spark Structured Streaming: revenue by minute, running totals, a join, and the restocking ratio.

It depends only on the topics and on nothing else of YASDG, so it runs wherever Spark does; run_spark.py in the parent
folder runs it locally. Times on the topics are UTC, whatever the shop's time zone is, so the session's zone is UTC.
Amounts are decimals and never pass through a float.
"""

import argparse
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming import StreamingQuery, StreamingQueryListener
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
)

AMOUNT, SHARE = "decimal(12,2)", "decimal(5,4)"
PURCHASE = f"""
    transaction_time timestamp, product_id string, price {AMOUNT}, quantity int, is_member boolean,
    member_discount {SHARE}, add_supplements boolean, supplement_price {AMOUNT}, total_purchase {AMOUNT},
    transaction_id string, total_cost {AMOUNT}, promotion_discount {SHARE}, substituted_from string
"""
PRODUCT = f"""
    product_id string, category string, item string, size string, price {AMOUNT}, inventory int, contains_fruit boolean,
    contains_veggies boolean, contains_nuts boolean, contains_caffeine boolean, range_weight double, cost {AMOUNT}
"""
STOCKING = """
    event_time timestamp, product_id string, existing_level int, stock_quantity int, new_level int, stocking_id string
"""

LATE_SALES = "1 minute"
"""How late a sale may be: milliseconds in a live shop, some ten seconds after the kill of a worker."""
LATE_RESTOCKS = "1 day"
"""A delivery is published with the sale that finds it on the shelf, which may take a while for a rare product."""
INTERRUPTED = 130
IMPATIENT = {"request.timeout.ms": "15000", "default.api.timeout.ms": "15000"}
"""Spark tries three times, so a shorter timeout reports an unavailable Kafka sooner than after minutes."""
PATIENCE = 20
"""Seconds for batches to end after a Ctrl-C."""
SCREEN = threading.Lock()
WINDOWS = {"minutes": timedelta(minutes=1), "categories": timedelta(minutes=1), "restocking": timedelta(days=1)}


def session() -> SparkSession:
    spark = SparkSession.builder.appName("yasdg").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")  # INT96, its default, has no zone
    return spark


def read(value: Column, schema: str) -> Column:
    """Return a message as a struct. An invalid message ends the query; as nulls it would be lost silently."""
    return f.from_json(value.cast("string"), schema, {"mode": "FAILFAST"})


class Shop:
    """The topics of a shop as tables.

    `prefix` is the start of their names; `kafka` has Kafka's own properties, such as bootstrap.servers.
    """

    def __init__(self, spark: SparkSession, prefix: str, kafka: dict[str, str]) -> None:
        self._spark, self._prefix = spark, prefix
        self._options = {f"kafka.{name}": value for name, value in kafka.items()} | {"startingOffsets": "earliest"}

    def purchases(self) -> DataFrame:
        return self._stream("purchases", PURCHASE)

    def stockings(self) -> DataFrame:
        return self._stream("stockings", STOCKING)

    def products(self) -> DataFrame:
        """The catalog: the latest message per product on its compacted topic, which each batch reads again."""
        messages = self._from(self._spark.read, "products")
        latest = f.max_by(read(f.col("value"), PRODUCT), "offset").alias("product")
        return messages.groupBy("key").agg(latest).select("product.*")

    def _stream(self, topic: str, schema: str) -> DataFrame:
        messages = self._from(self._spark.readStream, topic)
        return messages.select(read(f.col("value"), schema).alias("message")).select("message.*")

    def _from(self, reader: Any, topic: str) -> DataFrame:
        return reader.format("kafka").options(**self._options, subscribe=f"{self._prefix}.{topic}").load()


def minutes(purchases: DataFrame) -> DataFrame:
    """Sales, units and revenue by product and minute."""
    return windowed(purchases.withWatermark("transaction_time", LATE_SALES), "1 minute", "product_id", *sums())


def categories(purchases: DataFrame, products: DataFrame) -> DataFrame:
    """The same by category: each sale is joined with its product."""
    sold = purchases.withWatermark("transaction_time", LATE_SALES)
    sold = sold.join(f.broadcast(products.select("product_id", "category")), "product_id", "left")
    return windowed(sold, "1 minute", "category", *sums())


def totals(purchases: DataFrame) -> DataFrame:
    """The same by product, since the shop opened."""
    return purchases.groupBy("product_id").agg(*sums(), f.max("transaction_time").alias("last_sale"))


def restocking(purchases: DataFrame, stockings: DataFrame) -> DataFrame:
    """Units sold, units restocked, and units restocked per unit sold, by product and day."""
    nothing = f.lit(0)
    sold = purchases.select(
        "transaction_time",
        "product_id",
        f.col("quantity").alias("sold"),
        nothing.alias("restock"),
        nothing.alias("more"),
    )
    stocked = stockings.select("event_time", "product_id", nothing, f.lit(1), "stock_quantity")
    days = windowed(
        sold.union(stocked).withWatermark("transaction_time", LATE_RESTOCKS),
        "1 day",
        "product_id",
        f.sum("sold").alias("units"),
        f.sum("restock").alias("restocks"),
        f.sum("more").alias("restocked_units"),
    )
    rate = f.col("restocked_units") / f.nullif(f.col("units"), nothing)
    return days.withColumn("restock_rate", rate.cast("decimal(18,4)"))


def sums() -> list[Column]:
    return [
        f.count("*").alias("sales"),
        f.sum("quantity").alias("units"),
        f.sum("total_purchase").alias("revenue"),
    ]


def windowed(rows: DataFrame, length: str, key: str, *columns: Column) -> DataFrame:
    """Sums over windows, with the column names of `yasdg truth` and `yasdg verify`."""
    edges = f.col("window.start").alias("window_start"), f.col("window.end").alias("window_end")
    grouped = rows.groupBy(f.window("transaction_time", length), key).agg(*columns)
    return grouped.select(*edges, *grouped.columns[1:])


def show(name: str, rows: DataFrame, trigger: dict[str, Any]) -> StreamingQuery:
    """Print new and changed rows, the latest first."""
    order = f.desc("window_start" if name in WINDOWS else "last_sale")

    def show_batch(batch: DataFrame, number: int) -> None:
        changed = batch.orderBy(order).limit(30).persist()
        if not changed.isEmpty():
            with SCREEN:
                print(f"\n{name} (batch {number})", flush=True)
                changed.show(30, truncate=False)
        changed.unpersist()

    return rows.writeStream.queryName(name).outputMode("update").foreachBatch(show_batch).trigger(**trigger).start()


def keep(name: str, rows: DataFrame, trigger: dict[str, Any], folder: str) -> StreamingQuery:
    """Write Parquet: a window once, when it is final; all running totals again in each batch."""
    path = f"{folder}/{name}"
    writer = rows.writeStream.queryName(name).option("checkpointLocation", f"{folder}/_checkpoints/{name}")
    if name in WINDOWS:
        return writer.format("parquet").outputMode("append").trigger(**trigger).start(path)

    def replace(batch: DataFrame, number: int) -> None:  # a job that dies in here repeats it after the next start
        batch.coalesce(1).write.mode("overwrite").parquet(path)

    return writer.outputMode("complete").foreachBatch(replace).trigger(**trigger).start()


def start(shop: Shop, trigger: dict[str, Any], folder: str | None) -> Iterator[StreamingQuery]:
    """Start the four queries; without a folder they print to the screen."""
    purchases = shop.purchases()
    results = {
        "minutes": minutes(purchases),
        "categories": categories(purchases, shop.products()),
        "totals": totals(purchases),
        "restocking": restocking(purchases, shop.stockings()),
    }
    for name, rows in results.items():
        yield show(name, rows, trigger) if folder is None else keep(name, rows, trigger, folder)


class Late(StreamingQueryListener):
    """Number of messages too late for their windows, by query. (A query itself keeps only its last 100 batches.)"""

    def __init__(self) -> None:
        self._messages: Counter[str] = Counter()
        self._queries = 0
        self._changed = threading.Condition()

    def of(self, query: str) -> int:
        """Return the number for a query that is over: Spark reports its batches a little later."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queries, PATIENCE)
            return self._messages[query]

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        with self._changed:
            self._queries += 1

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        with self._changed:
            late = sum(operator.numRowsDroppedByWatermark for operator in event.progress.stateOperators)
            self._messages[event.progress.name or ""] += late

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        """Do nothing: without messages none is late."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        with self._changed:
            self._queries -= 1
            self._changed.notify_all()


def end_of_final_windows(query: StreamingQuery, late: int) -> str:
    """Return up to when the windows of a query are final, and how many messages came too late for theirs."""
    watermark = datetime.fromisoformat(query.recentProgress[-1]["eventTime"]["watermark"])
    since = datetime(1970, 1, 1, tzinfo=UTC)
    end = watermark - (watermark - since) % WINDOWS[query.name]
    return f"{query.name}: windows are final up to {end:%Y-%m-%d %H:%M} (UTC); {late} messages came too late for theirs"


def wait(queries: Sequence[StreamingQuery], interrupted: threading.Event) -> None:
    """Wait until all queries are over, or for a Ctrl-C. Raises StreamingQueryException if one fails."""
    while any(query.isActive for query in queries):
        failures = [error for query in queries if (error := query.exception())]
        if failures:
            raise failures[0]
        if interrupted.wait(1):
            break
    patience = time.monotonic() + PATIENCE
    for query in queries:
        # The next start repeats an interrupted batch, but Spark logs it at length.
        while query.isActive and query.status["isTriggerActive"] and time.monotonic() < patience:
            time.sleep(0.1)
        query.stop()
        if (error := query.exception()) and not interrupted.is_set():
            raise error


def properties(path: Path) -> dict[str, str]:
    """Return the content of a properties file as Kafka's own tools read it: lines of `name=value`."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap-servers", default="localhost:9092", metavar="HOST:PORT")
    parser.add_argument("--prefix", default="demo", help="what the names of the topics begin with (default: demo)")
    parser.add_argument("--kafka-config", type=Path, metavar="FILE", help="properties for Kafka: security.protocol=…")
    parser.add_argument("--until-now", action="store_true", help="end with what is on the topics now")
    parser.add_argument("--to", metavar="FOLDER", help="write Parquet there; without it, print")
    asked = parser.parse_args()
    kafka = IMPATIENT | (properties(asked.kafka_config) if asked.kafka_config else {})
    kafka["bootstrap.servers"] = asked.bootstrap_servers
    trigger = {"availableNow": True} if asked.until_now else {"processingTime": "5 seconds"}

    spark, interrupted = session(), threading.Event()
    # PySpark's own handler would stop Java in the middle of a call.
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    late = Late()
    spark.streams.addListener(late)
    try:
        queries = list(start(Shop(spark, asked.prefix, kafka), trigger, asked.to))
        wait(queries, interrupted)
    except PySparkException as error:
        sys.exit(f"The job on {asked.bootstrap_servers} ended: {str(error).splitlines()[0]}")
    for query in queries:
        if query.name in WINDOWS and query.recentProgress:
            print(end_of_final_windows(query, late.of(query.name)))
    if asked.until_now and interrupted.is_set():
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
