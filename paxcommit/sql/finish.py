"""Applying a decision to one branch: commit it, roll it back, fence it off (R19, R20)."""

from __future__ import annotations

from dataclasses import dataclass

from paxcommit.errors import ClusterError
from paxcommit.ids import Gid, TxId
from paxcommit.protocol.finishing import Applied, Busy, Damage, FinishAnswer, NotApplied
from paxcommit.sql.fencing import Standing, place_fence
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = [
    "PreparedBranch",
    "branch_kind",
    "commit_prepared",
    "fence",
    "prepared_branches",
    "rollback_prepared",
]

LOST = "lost-branch"
COMMITTED = "committed-despite-abort"


@dataclass(frozen=True, slots=True)
class PreparedBranch:
    """A prepared transaction of this database.

    Attributes:
        text: Its name as it stands.
        gid: What the name says; None: not one of ours, never to be touched.
        age: Seconds since it was prepared, by this server's clock (R3).
        owner: The role that may finish it.
    """

    text: str
    gid: Gid | None
    age: float
    owner: str


def prepared_branches() -> Statements[list[PreparedBranch]]:
    """List the prepared transactions of this database, oldest first (trap 10).

    Raises:
        DatabaseError: The server refused; a standby would show none, so it is refused (trap 15).
    """
    result = yield Sql(
        "SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8, owner::text"
        " FROM pg_prepared_xacts WHERE database = current_database()"
        # Raises on a standby, where the list is empty and says nothing.
        " AND (SELECT pg_current_wal_lsn() IS NOT NULL)"
        " ORDER BY prepared, gid"
    )
    return [PreparedBranch(text, Gid.parse(text), age, owner) for text, age, owner in result.rows]


def commit_prepared(gid: Gid) -> Statements[FinishAnswer]:
    """Commit a branch that the decision wants committed (R19).

    Returns:
        `Applied`; `Busy`: try again at once (trap 6); `NotApplied`: try again later;
        `Damage`: the branch is lost.

    Raises:
        Unanswered: Unknown; asking again on another connection is safe.
    """
    try:
        yield Sql(f"COMMIT PREPARED {gid.quoted}")
    except DatabaseError as error:
        if error.sqlstate == "42704":
            # Trap 7: done already, or lost; only the ledger knows.  The answer came after the gid
            # was gone, so whatever it committed is visible to the next statement.
            kind, problem = yield from _ledger(gid)
            if problem is not None:
                return NotApplied(problem)
            if kind == "branch":
                return Applied()
            return Damage(
                LOST,
                f"{gid} was to be committed, but it is not prepared, and "
                + ("its row is missing" if kind is None else f"a row of kind {kind} is there"),
            )
        return (yield from _after_error(gid, error, wanted="branch"))
    return Applied()


def rollback_prepared(gid: Gid) -> Statements[FinishAnswer]:
    """Roll back a branch that the decision does not want; the fence comes after it (R20).

    Returns:
        `Applied`: not prepared any more, or not yet (only the fence is proof); `Busy`;
        `NotApplied`; `Damage`: it is committed.

    Raises:
        Unanswered: Unknown; asking again on another connection is safe.
    """
    try:
        yield Sql(f"ROLLBACK PREPARED {gid.quoted}")
    except DatabaseError as error:
        if error.sqlstate == "42704":
            kind, problem = yield from _ledger(gid)
            if problem is not None:
                return NotApplied(problem)
            if kind in ("branch", "only"):
                return Damage(COMMITTED, f"{gid} was to be rolled back, but it is committed")
            return Applied()
        return (yield from _after_error(gid, error, wanted="fence"))
    return Applied()


def fence(digest: str, txid: TxId, participant: str) -> Statements[FinishAnswer]:
    """Fence off a late PREPARE of an aborted transaction, after its gid is rolled back (R20).

    Returns:
        `Applied`: no branch of it can be prepared here any more; `Busy`: one is in flight, or
        prepared; `NotApplied`, also if this database is not that participant; `Damage`: it is
        committed.

    Raises:
        Unanswered: Unknown; asking again is safe.
    """
    try:
        standing = yield from place_fence(digest, txid, participant)
    except (ClusterError, DatabaseError) as error:
        return NotApplied(str(error))
    match standing:
        case Standing.FENCE | Standing.RETIRED:
            return Applied()
        case Standing.BLOCKED:
            return Busy(f"a branch row of {txid} is in flight at {participant}")
        case Standing.BRANCH | Standing.ONLY:
            return Damage(
                COMMITTED, f"{txid} is aborted, but a row of kind {standing.value} is committed"
            )


def branch_kind(digest: str, txid: TxId, participant: str) -> Statements[str | None]:
    """Read the ledger: the kind of the row that is committed here for the transaction, or None.

    Raises:
        DatabaseError: This database is not that participant, or the server refused.
    """
    result = yield Sql(
        "SELECT paxcommit.branch_kind($1::text, $2::bigint, $3::bigint, $4::bigint, $5::text)",
        (digest, txid.epoch, txid.coordinator, txid.seq, participant),
    )
    kind: str | None = result.rows[0][0]
    return kind


def _ledger(gid: Gid) -> Statements[tuple[str | None, str | None]]:
    """Return the kind of the branch's row, or None; and why that could not be read."""
    try:
        return (yield from branch_kind(gid.digest, gid.txid, gid.participant)), None
    except DatabaseError as error:
        return None, f"the ledger is not readable: {error}"


def _after_error(gid: Gid, error: DatabaseError, *, wanted: str) -> Statements[FinishAnswer]:
    """Read the state again (trap 8): the error need not mean that nothing was done."""
    try:
        result = yield Sql(
            "SELECT p.owner::text, current_user::text, p.database::text, current_database()::text"
            " FROM (SELECT 1) AS one LEFT JOIN pg_prepared_xacts AS p ON p.gid = $1::text",
            (str(gid),),
        )
    except DatabaseError:
        return NotApplied(str(error))
    owner, me, database, here = result.rows[0]
    if owner is None:
        kind, _ = yield from _ledger(gid)
        return Applied() if kind == wanted else NotApplied(str(error))
    match error.sqlstate:
        case "55000":
            return Busy(str(error))
        case "42501":
            return NotApplied(
                f"{gid} belongs to role {owner}, and role {me} may not finish it: only the owner "
                "or a superuser may"
            )
        case "0A000":
            return NotApplied(f"{gid} is prepared in database {database}, not in {here}")
        case _:
            return NotApplied(str(error))
