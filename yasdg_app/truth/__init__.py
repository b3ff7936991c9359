"""The truth: what any stream processor must produce, computed from configuration, seed and control topic alone.

`events` yields everything that is counted, `windows` sums it up, `tables` writes it, `compare_purchases` and
`compare_sums` compare an engine's output with it. Nothing here depends on a broker or on the current time.
"""
