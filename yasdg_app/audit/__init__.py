"""The audit of a shop's books by its topics alone: a fold with one account a product, however many messages there are.

Each partition is audited by itself: its purchases in their order, beside them the lost sales before them, the restocks
that they caused, and the dead letters of what was neither. What concerns several partitions, customers who took another
product, is summed up. A finding is told once, where it is first seen; what follows from it is not told again. Pure: it
is handed records and the shop's plan, and knows neither a consumer nor the workers.
"""
