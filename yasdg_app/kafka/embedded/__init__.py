"""The embedded broker: Apache Kafka itself, run from Python packages alone.

`embedded` is the room's door. Nothing in here knows of the shop, of Faust or of topics: it starts, shares and stops a
broker.
"""
