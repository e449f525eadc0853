"""Every error paxcommit raises, and what each one means for your data.

The tree has three branches that matter to a caller with money in flight:

* `TransactionAborted` is definite: nothing of the transaction is, or ever will be, committed.
* `OutcomeUnknown` is honest: the transaction may be committed, aborted or still open.  Ask again
  with ``coordinator.outcome(txid)``; never assume, and never repeat the work before you know.
* Everything else was raised before anything could have been committed, and says what to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paxcommit.ids import TxId

__all__ = [
    "ClusterError",
    "ConfigurationError",
    "DriverError",
    "EnlistError",
    "ForkedProcessError",
    "IdentityMismatch",
    "InvalidName",
    "InvalidTxId",
    "InvariantViolation",
    "NotEnoughAcceptors",
    "OutcomeUnknown",
    "ParticipantUnavailable",
    "PaxcommitError",
    "SchemaError",
    "TransactionAborted",
    "UsageError",
    "require",
]


class PaxcommitError(Exception):
    """Base class of everything paxcommit raises on purpose."""


class InvariantViolation(PaxcommitError):
    """paxcommit found itself in a state that its protocol forbids.

    A bug in paxcommit, or an acceptor that broke its word.  Nothing further was done for the
    transaction concerned.  Keep the databases as they are and report it with the message.
    """


class ConfigurationError(PaxcommitError):
    """The settings cannot work as they are; the message says what to change.  Nothing was done."""


class DriverError(ConfigurationError):
    """The driver asked for is unknown, not installed, or cannot do what was asked of it."""


class InvalidName(ConfigurationError, ValueError):
    """A participant, acceptor or cluster name outside the strict alphabet (see `paxcommit.ids`)."""


class InvalidTxId(PaxcommitError, ValueError):
    """A text that is not the spelling of a transaction id.  Nothing was looked up."""


class UsageError(PaxcommitError):
    """The call makes no sense in the transaction's present state.  Nothing was done by it."""


class EnlistError(UsageError):
    """The connection cannot take part: another database, already in a transaction, closed, …

    The connection was left as it was, and the transaction goes on without it.
    """


class ForkedProcessError(UsageError):
    """A coordinator was used in a child of ``os.fork()``.

    Both processes would own ballot 0 of the same transactions (R1), so the child may not touch
    them, not even to roll back.  The parent is unaffected.  Open a new coordinator in the child.
    """


class ClusterError(PaxcommitError):
    """The cluster is not in a state to start new work.  Nothing of this call was committed."""


class SchemaError(ClusterError):
    """The ``paxcommit`` schema is missing, too old or too new for this code: ``paxcommit init``."""


class IdentityMismatch(ClusterError):
    """A server is not the one that the epoch record names (R2, R13).

    An edited DSN, a restored copy, a promoted standby, or another cluster.  It is not used.
    """


class NotEnoughAcceptors(ClusterError):
    """Fewer than F+1 acceptors can be used, so no new transaction is started.

    Transactions already begun are unaffected: they are finished once F+1 acceptors are back.
    """


class ParticipantUnavailable(ClusterError):
    """A participant's database gave no connection in time, or refused it."""


class TransactionAborted(PaxcommitError):
    """Definite: nothing of the transaction is committed anywhere, and nothing ever will be (R22).

    Attributes:
        txid: The transaction.
        reason: Why, in words.
        retryable: Whether running the same work again under a *new* transaction makes sense
            (serialization failure, deadlock, a lost race).  Never run it under the same id.
    """

    def __init__(self, txid: TxId, reason: str, *, retryable: bool = False) -> None:
        self.txid = txid
        self.reason = reason
        self.retryable = retryable
        super().__init__(f"transaction {txid} aborted, nothing of it is committed: {reason}")


class OutcomeUnknown(PaxcommitError):
    """Neither committed nor aborted can be claimed now (R22); one of them is or will be true.

    The work may be durable.  Do not repeat it; ask ``coordinator.outcome(txid)`` (or
    ``paxcommit outcome TXID``), which answers from any process once F+1 acceptors answer.
    Recovery finishes the transaction without you.

    Attributes:
        txid: The transaction.
        reason: What kept us from knowing, in words.
    """

    def __init__(self, txid: TxId, reason: str) -> None:
        self.txid = txid
        self.reason = reason
        super().__init__(
            f"the outcome of transaction {txid} is not known: {reason}. It may be committed. "
            f"Do not repeat it; ask `paxcommit outcome {txid}`."
        )


def require(condition: bool, broken: str, *args: object) -> None:
    """Raise `InvariantViolation` unless `condition` holds; unlike ``assert``, ``-O`` keeps it.

    Args:
        condition: The invariant.
        broken: What is wrong when it does not hold.
        args: Put into `broken` with ``%``, as logging does: where it holds, nothing is spelt out.
    """
    if not condition:
        raise InvariantViolation(broken % args if args else broken)
