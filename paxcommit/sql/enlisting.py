"""Checks on a connection that is to run a branch, inside the transaction just begun (R14, R18)."""

from __future__ import annotations

from paxcommit.errors import EnlistError
from paxcommit.sql.schema import quote_identifier
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = ["as_owner"]


def as_owner(owner: str, check: Statements[object]) -> Statements[None]:
    """Run `check` as the role that is to own the gid, then be who we were.

    Args:
        owner: The role (R18).
        check: Statements; what they raise is raised.

    Raises:
        EnlistError: This connection's user may not become the owner, so recovery could not
            finish its branch.
    """
    yield Sql("SAVEPOINT paxcommit_enlist")
    try:
        yield Sql(f"SET LOCAL ROLE {quote_identifier(owner)}")
    except DatabaseError as error:
        raise EnlistError(
            f"the connection's user may not SET ROLE {owner}, which is to own the prepared "
            f"transaction: grant it ({error.message})"
        ) from error
    yield from check
    # Brings back the user's own role; a later RESET ROLE could not.
    yield Sql("ROLLBACK TO SAVEPOINT paxcommit_enlist; RELEASE SAVEPOINT paxcommit_enlist")
