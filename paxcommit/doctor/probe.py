"""Really preparing and rolling back, the only proof that a server lets us (R18, traps 9 and 12)."""

from __future__ import annotations

import secrets

from paxcommit.sql.schema import quote_identifier
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = ["probe"]


def probe(role: str | None) -> Statements[str]:
    """Prepare a transaction that holds a transaction id and nothing else, and roll it back.

    The gid begins with ``paxcommit-doctor:``, which is no gid of a branch, so no recoverer takes
    an interest in it.  If this session dies in between, it stays, and the next `doctor` names it.

    Args:
        role: The role that is to own it, as a branch's; None for the login's own.

    Returns:
        Who owned it.

    Raises:
        DatabaseError: The server refused; nothing is left behind.
        Unanswered: Unknown; the gid may be left behind.
    """
    gid = f"paxcommit-doctor:{secrets.token_hex(16)}"
    become = "NONE" if role is None else quote_identifier(role)
    try:
        yield Sql(
            f"BEGIN; SELECT pg_current_xact_id(); SET LOCAL ROLE {become};"
            f" PREPARE TRANSACTION '{gid}'"
        )
    except DatabaseError:
        yield Sql("ROLLBACK")
        raise
    owned = yield Sql("SELECT owner::text FROM pg_prepared_xacts WHERE gid = $1::text", (gid,))
    yield Sql(f"SET ROLE {become}")  # membership is not enough, one must be the owner
    yield Sql(f"ROLLBACK PREPARED '{gid}'")
    yield Sql("RESET ROLE")
    return str(owned.rows[0][0])
