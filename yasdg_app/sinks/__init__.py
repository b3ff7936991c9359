"""The stores outside of Kafka that keep a copy of the inventory for whoever asks SQL or DynamoDB: one row a product.

`base` says what a row is and which of two is the newer one, `kinds` which store an address means, and the others are
the stores. None of them knows Faust, Kafka, or where the rows come from.
"""
