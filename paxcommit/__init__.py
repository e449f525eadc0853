"""One transaction across several PostgreSQL databases: atomic, and never blocked by a dead process.

Start with `AsyncCoordinator` (asyncio) or `Coordinator` (threads).  ``docs/`` says how it works
and what it promises.
"""

from __future__ import annotations

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
