"""What is replaced of Faust.

`transport` reads sales in batches instead of one event at a time, from the positions in the table instead of committed
offsets. `table` reads its changelog itself, writes it before the table changes, and keeps rows as numbers.
`fetched_batches` hands an agent at once what was fetched together. `upstream` lists the private names of Faust and
aiokafka that all of this relies on. The web server is replaced in `yasdg_app/web/driver.py`.
"""
