"""Stores outside Kafka that keep a copy of the inventory for SQL or DynamoDB clients: one row per product.

`base` defines a row and which of two rows is newer, `factory` selects the store of an address, and the other modules
are the stores. None of them knows Faust, Kafka, or the source of the rows.
"""
