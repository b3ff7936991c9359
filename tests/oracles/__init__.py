"""Computations that share no code path with what is tested; results are compared with theirs."""
