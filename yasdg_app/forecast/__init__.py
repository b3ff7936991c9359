"""The forecast of what a configuration will do; independent of brokers and of how it is displayed."""
