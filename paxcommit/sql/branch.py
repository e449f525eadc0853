"""Driving one branch: begin it, prepare it, or end it without a vote (R14 to R19)."""

from __future__ import annotations

from paxcommit.ids import Gid, TxId
from paxcommit.protocol.resource_manager import (
    RETRYABLE,
    BranchAnswer,
    No,
    Unknown,
    WroteNothing,
    judge_error,
    judge_only_commit,
    judge_prepare,
)
from paxcommit.sql.refusals import Refusal
from paxcommit.sql.schema import quote_identifier
from paxcommit.sql.statement import DatabaseError, Sql, Statements, Unanswered

__all__ = [
    "commit_only",
    "commit_reader",
    "end_reader",
    "mark",
    "open_branch",
    "prepare_branch",
    "rollback",
]

_BRANCH_KEY = "paxcommit_branch_pkey"


def mark(txid: TxId) -> Sql:
    """The first statement of a branch: marks the transaction just begun as that of `txid` (R14)."""
    return Sql(f"SET LOCAL paxcommit.txid = '{txid}'")


def open_branch(txid: TxId) -> Statements[None]:
    """Mark the transaction just begun as the one of `txid`, if `begin` did not (R14)."""
    yield mark(txid)


def prepare_branch(
    gid: Gid, role: str | None = None, *, declared_read_only: bool = False
) -> Statements[BranchAnswer]:
    """Insert the branch row and prepare the transaction, in one round trip (R14 to R16, R18).

    After `WroteNothing` the transaction is still open; see `commit_reader` and `end_reader`.
    After anything else it is over, or failed and to be rolled back.

    Args:
        gid: Names digest, transaction, participant and deadline.
        role: Who shall own the gid; None: the session's own user.
        declared_read_only: Ask first whether anything was written at all: it spares the
            server's log the error that a reader otherwise costs.

    Raises:
        Unanswered: No complete answer came: Unknown (trap 4).
    """
    txid = gid.txid
    try:
        if declared_read_only:
            # A read-only transaction may still write to temporary tables: then go on, and hear it.
            yield Sql(f"SET LOCAL ROLE {_role(role)}")
            result = yield Sql(
                "SELECT paxcommit.wrote($1::text), current_setting('transaction_isolation')",
                (str(txid),),
            )
            wrote, isolation = result.rows[0]
            if not wrote:
                return WroteNothing(serializable=isolation == "serializable")
        result = yield Sql(
            # R16: whatever the user's deferred triggers warn of does not count, so it is not sent;
            # the branch function turns PREPARE's own warnings on again.
            "SET LOCAL client_min_messages = error;"
            # R18: those triggers first, as the user's role.
            " SET CONSTRAINTS ALL IMMEDIATE;"
            f" SET LOCAL ROLE {_role(role)};"
            " SAVEPOINT paxcommit_branch;"
            f" SELECT {_branch_call(gid, 'branch')};"
            f" PREPARE TRANSACTION {gid.quoted}",
            notices=True,
        )
    except DatabaseError as error:
        if error.sqlstate == Refusal.WROTE_NOTHING:
            yield Sql("ROLLBACK TO SAVEPOINT paxcommit_branch")
            return WroteNothing(serializable=error.detail == "serializable")
        return _refused(error)
    warned = any(notice.sqlstate == "01000" for notice in result.notices)
    return judge_prepare(result.tag, warned=warned)


def commit_only(gid: Gid, role: str | None = None) -> Statements[BranchAnswer]:
    """Commit the only participant in one phase, and leave a row that says so (R17).

    Args:
        gid: What the branch would have been called.
        role: Who shall insert the row; None: the session's own user.

    Returns:
        `OnlyCommitted` (also if nothing was written), `No`, or `Unknown`: the COMMIT was sent and
        was not answered properly.
    """
    try:
        result = yield Sql(
            "SET CONSTRAINTS ALL IMMEDIATE;"
            f" SET LOCAL ROLE {_role(role)};"
            f" SELECT {_branch_call(gid, 'only')};"
            " COMMIT"
        )
    except DatabaseError as error:
        return _refused(error)
    except Unanswered as lost:
        return Unknown(f"the one-phase COMMIT was not answered: {lost}")
    return judge_only_commit(result.tag)


def commit_reader(txid: TxId) -> Statements[BranchAnswer]:
    """Commit a SERIALIZABLE reader before the first phase 2a is sent (R15).

    Returns:
        `WroteNothing` once it is committed, or `No`: it wrote after all, or could not be
        serialized.

    Raises:
        Unanswered: Unknown; there is nothing durable in it, but its reads count for nothing.
    """
    problem = yield from end_reader(txid, commit=True)
    return WroteNothing(serializable=True) if problem is None else problem


def end_reader(txid: TxId, *, commit: bool) -> Statements[No | None]:
    """End a transaction that wrote nothing: COMMIT, or ROLLBACK after Aborted (R15).

    Args:
        txid: The transaction.
        commit: Whether the outcome is committed.

    Returns:
        None, or why it was rolled back although it was to commit.

    Raises:
        Unanswered: The connection is lost, and the transaction with it.
    """
    if not commit:
        yield from rollback()
        return None
    try:
        result = yield Sql("SELECT paxcommit.wrote($1::text)", (str(txid),))
        if result.rows[0][0]:
            yield from rollback()
            return No("it wrote after it had said that it wrote nothing, and was rolled back")
        result = yield Sql("COMMIT")
    except DatabaseError as error:
        yield from rollback()
        return _refused_definitely(error)
    if result.tag != "COMMIT":
        return No(f"COMMIT answered {result.tag!r}: the transaction had failed before")
    return None


def rollback() -> Statements[None]:
    """Roll back; also where no transaction is open, for then there is nothing to lose.

    Raises:
        Unanswered: The connection is lost, and the transaction with it.
    """
    yield Sql("ROLLBACK")


def _role(role: str | None) -> str:
    return "NONE" if role is None else quote_identifier(role)


def _branch_call(gid: Gid, kind: str) -> str:
    # Literals, for a string of several statements takes no parameters; a gid's alphabet is strict.
    txid = gid.txid
    return (
        f"paxcommit.branch('{gid.digest}', {txid.epoch}, {txid.coordinator}, {txid.seq},"
        f" '{gid.participant}', '{kind}')"
    )


def _refused(error: DatabaseError) -> No | Unknown:
    """Judge an error, and add what a person needs to know about it."""
    retryable: bool | None = None
    hint = ""
    match error.sqlstate:
        case "23505" if _BRANCH_KEY in error.message:
            hint = "fenced by recovery, or a second branch of the same participant"
            retryable = True
        case "55P03":
            hint = "its row or something it needs is locked, perhaps by recovery"
            retryable = True
        case Refusal.RETIRED:
            retryable = True
        case "25P01":
            hint = "it was ended inside the block; what a COMMIT there wrote stays, outside of it"
        case "0A000":
            hint = (
                "a transaction cannot be prepared after temporary objects, WITH HOLD cursors,"
                " LISTEN or NOTIFY, an exported snapshot, or a session and a transaction"
                " advisory lock on one key"
            )
        case "55000":
            hint = (
                "is max_prepared_transactions 0? It needs a restart, and should be at least"
                " the number of transactions at a time"
            )
        case "53200":
            hint = "are there max_prepared_transactions prepared ones? Raise it (needs a restart)"
        case _:
            pass
    reason = f"{error.message}: {error.detail}" if error.detail else error.message
    return judge_error(
        error.sqlstate, f"{reason} [{hint}]" if hint else reason, retryable=retryable
    )


def _refused_definitely(error: DatabaseError) -> No:
    """Judge an error of a transaction that wrote nothing: whatever it was, nothing is durable."""
    return No(f"{error.message} ({error.sqlstate})", error.sqlstate in RETRYABLE)
