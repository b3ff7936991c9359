"""The simulated world: a pure function of configuration, seed and event time.

Nothing here knows Faust, Kafka or the wall clock. Read in this order: randomness, demand, customer_behaviour, price,
till, shelf.
"""
