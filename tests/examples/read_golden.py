"""Reads purchases with Spark, by the schema of the example, and writes them as Parquet. run_spark.py runs it."""

import sys

from job import PURCHASE, read
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

lines, to = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
spark.conf.set("spark.sql.session.timeZone", "UTC")
rows = spark.read.text(lines).select(read(f.col("value"), PURCHASE).alias("purchase")).select("purchase.*")
rows.coalesce(1).write.parquet(to)
