"""Prepared transactions of one database: ours, other clusters', nobody's; and whom they block."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from paxcommit.sql.finish import PreparedBranch
from paxcommit.sql.statement import Sql, Statements

__all__ = ["Blocked", "Kind", "kind_of", "read_blocked"]

# A prepared transaction's locks have no pid, and the virtual id they share is known only from the
# lock on its own xid.  A row lock is waited for as the transactionid of its holder; table and other
# locks are matched whole.  Who queues behind a blocked session is blocked as well.
_BLOCKED = """
with recursive xact as (
    select gid, transaction from pg_prepared_xacts
    where database = current_database() and gid = any($1)
), held as (
    select xact.gid, l.*
    from xact
    join pg_locks own on own.pid is null and own.locktype = 'transactionid' and own.granted
        and own.transactionid = xact.transaction
    join pg_locks l on l.pid is null and l.virtualtransaction = own.virtualtransaction
), blocked(gid, pid) as (
    select held.gid, w.pid
    from pg_locks w join held on w.locktype = held.locktype
        and (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid, w.classid,
             w.objid, w.objsubid)
            is not distinct from
            (held.database, held.relation, held.page, held.tuple, held.virtualxid,
             held.transactionid, held.classid, held.objid, held.objsubid)
    where not w.granted and w.pid is not null
    union
    select blocked.gid, a.pid
    from blocked join pg_stat_activity a
        on a.wait_event_type = 'Lock' and blocked.pid = any(pg_blocking_pids(a.pid))
)
select blocked.gid, a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''),
       coalesce(extract(epoch from clock_timestamp() - a.state_change), 0)::float8
from blocked join pg_stat_activity a using (pid)
order by 1, 5 desc, 2
"""


class Kind(enum.Enum):
    """Whose a prepared transaction is."""

    OURS = "ours"
    FOREIGN = "of another paxcommit cluster"
    MISPLACED = "of another participant"
    MALFORMED = "nearly a paxcommit gid"
    PROBE = "left over by doctor"
    OTHER = "somebody else's"


def kind_of(branch: PreparedBranch, digest: str | None, participant: str) -> Kind:
    """Tell whose a prepared transaction is; only `Kind.OURS` may ever be touched (R2, trap 10).

    Args:
        branch: As it was found.
        digest: Of our epoch record, or None if it is not known.
        participant: The name of the database it was found in.
    """
    gid = branch.gid
    if gid is None:
        if branch.text.startswith("paxcommit-doctor:"):
            return Kind.PROBE
        return Kind.MALFORMED if branch.text.startswith("paxcommit:") else Kind.OTHER
    if gid.digest != digest:
        return Kind.FOREIGN
    return Kind.OURS if gid.participant == participant else Kind.MISPLACED


@dataclass(frozen=True, slots=True)
class Blocked:
    """A session that waits for a prepared transaction's locks, itself or in the queue behind.

    Attributes:
        gid: Of the prepared transaction.
        pid: Of the waiting backend.
        user: Its login, if we may see it.
        application: Its ``application_name``, if we may see it.
        waiting: Seconds since its statement began.
    """

    gid: str
    pid: int
    user: str
    application: str
    waiting: float


def read_blocked(gids: Iterable[str]) -> Statements[list[Blocked]]:
    """List the sessions that wait for any of these prepared transactions, longest first."""
    result = yield Sql(_BLOCKED, (list(gids),))
    return [Blocked(*row) for row in result.rows]
