"""Fences, and who stands in their way (R20, R23; traps 5 and 24c)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from paxcommit.ids import TxId
from paxcommit.sql.refusals import translate
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = [
    "Blocker",
    "Standing",
    "backend_pid",
    "fence_blockers",
    "place_fence",
    "terminate_blocker",
]


class Standing(enum.Enum):
    """What stands where a fence was wanted."""

    FENCE = "fence"
    """A fence, ours or another's: no branch of the transaction can be prepared here."""
    BRANCH = "branch"
    """A branch that was prepared, and is committed."""
    ONLY = "only"
    """A one-phase commit (R17)."""
    RETIRED = "retired"
    """The epoch is over here, so no fence is needed; it says nothing about the outcome (R31)."""
    BLOCKED = "blocked"
    """Somebody's row is in flight, or prepared; see `fence_blockers`."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """Who keeps a fence waiting.

    Attributes:
        pid: Of the backend; 0 is a prepared transaction.
        backend_start: Microseconds since 1970; None for a prepared transaction, and where the
            schema's owner may not see it.
    """

    pid: int
    backend_start: int | None

    @property
    def prepared(self) -> bool:
        """Whether it is a prepared transaction, which nobody may touch before a decision (R23)."""
        return self.pid == 0


def place_fence(digest: str, txid: TxId, participant: str) -> Statements[Standing]:
    """Insert a fence unless a row stands there; waits for another's row at most half a second.

    Raises:
        ClusterError: This database is not that participant (`IdentityMismatch`), has no schema.
        DatabaseError: The server refused.
        Unanswered: Unknown; asking again is safe.
    """
    try:
        result = yield Sql(
            "SELECT paxcommit.fence($1::text, $2::bigint, $3::bigint, $4::bigint, $5::text)",
            (digest, txid.epoch, txid.coordinator, txid.seq, participant),
        )
    except DatabaseError as error:
        # 40001 comes under the stronger isolation levels, if a row came meanwhile.
        if error.sqlstate in ("55P03", "40001"):
            return Standing.BLOCKED
        raise translate(error) from error
    return Standing(result.rows[0][0])


def backend_pid() -> Statements[int]:
    """Return the pid of the backend that serves this statement (behind a pooler: trap 17)."""
    result = yield Sql("SELECT pg_backend_pid()")
    return int(result.rows[0][0])


def fence_blockers(fence_pid: int) -> Statements[Sequence[Blocker]]:
    """Tell who keeps the session `fence_pid` waiting with a branch row in flight, now.

    To be asked on another connection to the same database, while `place_fence` waits.
    """
    result = yield Sql(
        "SELECT pid, backend_start FROM paxcommit.fence_blockers($1::bigint)", (fence_pid,)
    )
    return tuple(Blocker(*row) for row in result.rows)


def terminate_blocker(fence_pid: int, blocker: Blocker) -> Statements[bool]:
    """Terminate `blocker` if it still is one; never a prepared transaction (trap 24c).

    Returns:
        Whether it was terminated.
    """
    if blocker.prepared or blocker.backend_start is None:
        return False
    result = yield Sql(
        "SELECT paxcommit.terminate_blocker($1::bigint, $2::bigint, $3::bigint)",
        (fence_pid, blocker.pid, blocker.backend_start),
    )
    return bool(result.rows[0][0])
