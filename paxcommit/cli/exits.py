"""The exit codes of every command, in one place, for scripts."""

from __future__ import annotations

import enum

__all__ = ["EPILOG", "Exit"]


class Exit(enum.IntEnum):
    """How a command ended."""

    OK = 0
    PROBLEM = 1
    USAGE = 2
    ABORTED = 3
    UNDECIDED = 4
    DAMAGE = 5
    UNREACHABLE = 6

    @property
    def meaning(self) -> str:
        """In words, for ``--help``."""
        return _MEANINGS[self]


_MEANINGS = {
    Exit.OK: "fine; the transaction committed",
    Exit.PROBLEM: "a problem was found, something to repair",
    Exit.USAGE: "the command line or the settings are wrong, nothing was done",
    Exit.ABORTED: "the transaction aborted",
    Exit.UNDECIDED: "a transaction is open, in doubt, or its outcome not known",
    Exit.DAMAGE: "damage: a database contradicts a decision",
    Exit.UNREACHABLE: "too few servers answer",
}

EPILOG = "Exit codes: " + "; ".join(f"{code.value} {code.meaning}" for code in Exit) + "."
"""What every ``--help`` ends with."""
