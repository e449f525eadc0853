"""The SQLSTATEs that our own functions raise, and the exceptions they become.

A refusal concerns a whole call and changes nothing.  The SQL files spell the same codes; a test
holds the two lists together.
"""

from __future__ import annotations

import enum

from paxcommit.errors import (
    ClusterError,
    IdentityMismatch,
    InvariantViolation,
    PaxcommitError,
    SchemaError,
)
from paxcommit.sql.statement import DatabaseError

__all__ = ["Refusal", "translate"]


class Refusal(enum.StrEnum):
    """What a function of the schema ``paxcommit`` may raise by itself."""

    WRONG_EPOCH = "PX001"
    """No epoch of this digest here, or another participant (R2)."""
    WRONG_SERVER = "PX002"
    """Another acceptor, or the right one after a promotion, restore or copy (R13)."""
    MALFORMED = "PX003"
    """A bundle that no leader sends: empty, a transaction twice, … (R10)."""
    ISOLATION = "PX004"
    """Not READ COMMITTED (R11)."""
    NOT_DURABLE = "PX005"
    """``fsync`` or ``full_page_writes`` is off (trap 19)."""
    LOST_VOTES = "PX006"
    """Below a mark that somebody remembers (R13)."""
    RETIRED = "PX007"
    """The epoch is retired at this participant (R31)."""
    NOT_OUR_TRANSACTION = "PX010"
    """The user's code ended the transaction inside the block (R14)."""
    WROTE_NOTHING = "PX011"
    """There is nothing to prepare; the detail is the isolation level (R15)."""


_MISSING = frozenset({"3F000", "42883", "42P01"})
"""Undefined schema, function, table."""


def translate(error: DatabaseError) -> PaxcommitError | DatabaseError:
    """Turn a refusal of a whole call into the exception that callers know.

    Args:
        error: Whatever the call answered.

    Returns:
        A `ClusterError` (of the kinds `IdentityMismatch` and `SchemaError` where one fits), an
        `InvariantViolation` for a call that our own code must not make, or `error` itself if the
        server, not our function, refused.
    """
    match error.sqlstate:
        case Refusal.WRONG_EPOCH | Refusal.WRONG_SERVER | Refusal.LOST_VOTES:
            return IdentityMismatch(str(error))
        case Refusal.ISOLATION | Refusal.NOT_DURABLE | Refusal.RETIRED:
            return ClusterError(str(error))
        case Refusal.MALFORMED:
            return InvariantViolation(str(error))
        case state if state in _MISSING:
            return SchemaError(f"the paxcommit schema is missing or too old here: {error}")
        case "42501":
            return SchemaError(f"the role may not use the paxcommit schema here: {error}")
        case _:
            return error
