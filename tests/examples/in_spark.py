"""Reads lines with purchases by the schema of Spark's example and writes them as Parquet; says how many of a folder's
files, each a batch, the example finds late; then runs the example.

In one session, since that takes longest to start: in_spark.py LINES FOLDER BATCHES [ARGUMENT OF THE EXAMPLE]...
"""

import sys

import job
from pyspark.sql import functions as f

lines, to, batches, *sys.argv[1:] = sys.argv[1:]
spark = job.session()
rows = spark.read.text(lines).select(job.read(f.col("value"), job.PURCHASE).alias("purchase"))
rows.select("purchase.*").coalesce(1).write.parquet(to)

late = job.Late()
spark.streams.addListener(late)
spark.conf.set("spark.sql.streaming.numRecentProgressUpdates", 1)  # a query forgets soon what is no batch of its last
sales = spark.readStream.schema(job.PURCHASE).option("maxFilesPerTrigger", 1).json(batches)
query = job.minutes(sales).writeStream.queryName("batches").format("noop").trigger(availableNow=True).start()
query.awaitTermination()
print(f"{late.of('batches')} late of {spark.read.json(batches).count()}")
spark.streams.removeListener(late)
spark.conf.unset("spark.sql.streaming.numRecentProgressUpdates")

job.main()
