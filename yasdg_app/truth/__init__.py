"""The truth: what any engine must come to that reads the stream, from configuration, seed and control topic alone.

`happenings` are all that is counted, `windows` sums it up, `tables` writes it down, `comparing` holds an engine's
output against it. Nothing here knows a broker or what time it is.
"""
