"""Reads lines with purchases by the schema of Spark's example and writes them as Parquet; then runs the example.

In one session, since that takes longest to start: in_spark.py LINES FOLDER [ARGUMENT OF THE EXAMPLE]...
"""

import sys

import job
from pyspark.sql import functions as f

lines, to, *sys.argv[1:] = sys.argv[1:]
rows = job.session().read.text(lines).select(job.read(f.col("value"), job.PURCHASE).alias("purchase"))
rows.select("purchase.*").coalesce(1).write.parquet(to)
job.main()
