"""The benchmark: what atomicity costs, against the bare driver and the usual alternatives.

Every system does the same small work with the same pools in a process of its own, interleaved with
the others and repeated, so that what is told, ratios, means something on a noisy machine.  What no
noise touches is counted exactly: round trips, statements, WAL flushes (docs/performance.md).
"""
