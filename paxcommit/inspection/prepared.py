"""Prepared transactions of one database: ours, other clusters', nobody's; and whom they block."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from paxcommit.ids import Gid
from paxcommit.sql.statement import Sql, Statements

__all__ = ["Blocked", "Kind", "PreparedXact", "read_blocked", "read_prepared"]

_PREPARED = """
select gid, owner::text, transaction::text,
       extract(epoch from clock_timestamp() - prepared)::float8
from pg_prepared_xacts
where database = current_database() and (cardinality($1::text[]) = 0 or gid = any($1))
order by prepared, gid
"""

# A row lock is waited for as the transactionid of its holder; table and other locks are matched
# whole.  Who queues behind a blocked session is blocked as well.
_BLOCKED = """
with recursive xact as (
    select gid, transaction from pg_prepared_xacts
    where database = current_database() and gid = any($1)
), held as (
    select xact.gid, l.* from pg_locks l join xact
        on l.pid is null and l.virtualtransaction = '-1/' || xact.transaction::text
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


@dataclass(frozen=True, slots=True)
class PreparedXact:
    """One row of ``pg_prepared_xacts``.

    Attributes:
        gid: As it is spelt there.
        owner: The role that may finish it.
        xid: Its PostgreSQL transaction id.
        age: Seconds since PREPARE, by that server's clock.
    """

    gid: str
    owner: str
    xid: str
    age: float

    @property
    def parsed(self) -> Gid | None:
        """The gid, if it is one of paxcommit's (any cluster's)."""
        return Gid.parse(self.gid)

    def kind(self, digest: str | None, participant: str) -> Kind:
        """Tell whose it is; only `Kind.OURS` may ever be touched (R2, trap 10).

        Args:
            digest: Of our epoch record, or None if it is not known.
            participant: The name of the database it was found in.
        """
        gid = self.parsed
        if gid is None:
            if self.gid.startswith("paxcommit-doctor:"):
                return Kind.PROBE
            return Kind.MALFORMED if self.gid.startswith("paxcommit:") else Kind.OTHER
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


def read_prepared(gids: Iterable[str] = ()) -> Statements[list[PreparedXact]]:
    """List the prepared transactions of the connected database, oldest first.

    Args:
        gids: Only these; all if empty.
    """
    result = yield Sql(_PREPARED, (list(gids),))
    return [PreparedXact(*row) for row in result.rows]


def read_blocked(gids: Iterable[str]) -> Statements[list[Blocked]]:
    """List the sessions that wait for any of these prepared transactions, longest first."""
    result = yield Sql(_BLOCKED, (list(gids),))
    return [Blocked(*row) for row in result.rows]
