"""One transaction across several PostgreSQL databases: atomic, and never blocked by a dead process.

Start with `AsyncCoordinator` (asyncio) or `Coordinator` (threads).  ``docs/`` says how it works
and what it promises.

Each public name is imported when it is first asked for, so that importing the package costs
nothing: our pytest plugin is loaded in every run of everybody who has paxcommit installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paxcommit.async_coordinator import AsyncCoordinator
    from paxcommit.async_recovery import AsyncRecovery
    from paxcommit.async_transaction import AsyncTransaction
    from paxcommit.coordinator import Coordinator
    from paxcommit.errors import (
        ClusterError,
        ConfigurationError,
        DriverError,
        EnlistError,
        ForkedProcessError,
        IdentityMismatch,
        InvalidName,
        InvalidTxId,
        InvariantViolation,
        NotEnoughAcceptors,
        OutcomeUnknown,
        ParticipantUnavailable,
        PaxcommitError,
        SchemaError,
        TransactionAborted,
        UsageError,
    )
    from paxcommit.ids import TxId
    from paxcommit.protocol.values import Outcome
    from paxcommit.recovery import Recovery
    from paxcommit.reports import RecoveryReport, Resolved
    from paxcommit.settings import Settings
    from paxcommit.transaction import Transaction

__all__ = [
    "AsyncCoordinator",
    "AsyncRecovery",
    "AsyncTransaction",
    "ClusterError",
    "ConfigurationError",
    "Coordinator",
    "DriverError",
    "EnlistError",
    "ForkedProcessError",
    "IdentityMismatch",
    "InvalidName",
    "InvalidTxId",
    "InvariantViolation",
    "NotEnoughAcceptors",
    "Outcome",
    "OutcomeUnknown",
    "ParticipantUnavailable",
    "PaxcommitError",
    "Recovery",
    "RecoveryReport",
    "Resolved",
    "SchemaError",
    "Settings",
    "Transaction",
    "TransactionAborted",
    "TxId",
    "UsageError",
]

_HOMES = {
    "AsyncCoordinator": "paxcommit.async_coordinator",
    "AsyncRecovery": "paxcommit.async_recovery",
    "AsyncTransaction": "paxcommit.async_transaction",
    "Coordinator": "paxcommit.coordinator",
    "Outcome": "paxcommit.protocol.values",
    "Recovery": "paxcommit.recovery",
    "RecoveryReport": "paxcommit.reports",
    "Resolved": "paxcommit.reports",
    "Settings": "paxcommit.settings",
    "Transaction": "paxcommit.transaction",
    "TxId": "paxcommit.ids",
}
"""Where public names live; those that are not here are errors."""

if not TYPE_CHECKING:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = import_module(_HOMES.get(name, "paxcommit.errors"))
        value = globals()[name] = getattr(home, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
