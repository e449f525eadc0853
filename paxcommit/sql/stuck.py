"""A PREPARE that hangs, e.g. on a synchronous standby; no server time-out ends it (trap 3)."""

from __future__ import annotations

from paxcommit.ids import Gid
from paxcommit.sql.statement import Sql, Statements

__all__ = ["terminate_preparer"]


def terminate_preparer(gid: Gid) -> Statements[bool]:
    """Terminate the backend that is still busy with this very PREPARE, if there is one.

    Whether the branch ends up prepared stays Unknown; but its gid can be finished then.

    Returns:
        Whether one was terminated.
    """
    result = yield Sql(
        "SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()"
        " AND strpos(query, $1::text) > 0",
        (f"PREPARE TRANSACTION {gid.quoted}",),
    )
    return bool(result.rows[0][0])
