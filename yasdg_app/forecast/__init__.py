"""What a configuration will do, before it does; it knows neither brokers nor how it is shown."""
