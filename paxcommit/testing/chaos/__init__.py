"""Chaos: a bank workload under faults, its history, and a judge who knows nothing but the history.

Importing this package imports no driver, nothing that draws, and starts nothing.
"""

from paxcommit.testing.chaos.history import History, HistoryError, Recorder, read_history

__all__ = ["History", "HistoryError", "Recorder", "read_history"]
