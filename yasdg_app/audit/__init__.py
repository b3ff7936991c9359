"""The audit: checks from the topics alone that the shop's records balance, as a fold with one account per product.

Memory does not grow with the number of messages. Each partition is audited separately: its purchases in log order, and
alongside them the lost sales that precede them, the restocks that they caused, and the dead letters for messages that
are neither a purchase nor a lost sale. What spans several partitions, namely customers who bought a substitute, is
summed up for the whole shop. A finding is reported once, where it is first noticed; its consequences are not reported
again. The checks are pure: they get records and the shop's plan, and know neither a consumer nor the workers.
`shop_audit`, `partitioned_topics` and `worker_tables` read what they get.
"""
