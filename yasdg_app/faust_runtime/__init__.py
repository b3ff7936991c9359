"""Replacements for parts of Faust, and the setup of a worker.

`transport` reads sales in batches instead of one event at a time, from the positions in the table instead of committed
offsets; `fetched_batches` passes an agent together what was fetched together. `table` reads its changelog itself,
writes it before the table changes, and keeps rows as numbers. `shop_app` is the app class, `worker` the process around
it. `partition_assignment` says which partitions this worker may touch. `upstream` lists the private names of Faust and
aiokafka that all of this relies on. The web server is replaced in `yasdg_app/web/driver.py`.
"""
