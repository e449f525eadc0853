"""Taking away what a pool's user left behind on a connection, before it has its next one."""

from __future__ import annotations

from paxcommit.sql.statement import Sql

__all__ = ["CLEAN", "CLEAN_APART"]

CLEAN = Sql(
    "RESET SESSION AUTHORIZATION; RESET ALL; CLOSE ALL; UNLISTEN *;"
    " SELECT pg_catalog.pg_advisory_unlock_all()"
)
"""Settings, role, cursors, channels and locks; psycopg's own pool resets nothing, and asyncpg's
leaves a role in place."""

CLEAN_APART = Sql(f"BEGIN; {CLEAN.text}; COMMIT")
"""The same in a transaction of its own.  In one with what follows, an UNLISTEN would keep that from
being prepared, and its rollback would bring the last user's settings back."""
