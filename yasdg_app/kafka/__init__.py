"""Apache Kafka: connections, producing, reading, topics, authentication, and an embedded broker."""
