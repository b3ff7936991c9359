"""The embedded broker: Apache Kafka itself, run from Python packages alone.

The entry point is `broker`. Nothing in this package knows of the shop, of Faust or of topics: it starts, shares and
stops a broker.
"""
