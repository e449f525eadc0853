"""What of paxcommit is installed in a database, and whether one may install more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paxcommit.sql.epoch import EpochRecord, read_records
from paxcommit.sql.participant import ParticipantEpoch, participant_epochs
from paxcommit.sql.schema import read_version
from paxcommit.sql.statement import Sql, Statements

__all__ = ["Drawn", "Installed", "missing_grants", "missing_roles", "read_drawn", "read_installed"]


@dataclass(frozen=True, slots=True)
class Installed:
    """What stands in one database.

    Attributes:
        version: Of the schema; None where there is none.
        may_install: Whether this login may create the schema, or owns it.
        records: The epoch records that it holds as an acceptor, oldest first.
        epochs: The epochs that it takes part in, oldest first.
    """

    version: int | None
    may_install: bool
    records: Sequence[EpochRecord]
    epochs: Sequence[ParticipantEpoch]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The identity that a database drew as an acceptor.

    Attributes:
        identity: The uuid.
        in_place: Whether it still is where it was drawn (R13).
    """

    identity: str
    in_place: bool


def read_installed() -> Statements[Installed]:
    """Read what stands here; changes nothing.

    Raises:
        SchemaError: This login may not look.
        DatabaseError: The server refused.
    """
    result = yield Sql(
        "SELECT n.oid IS NOT NULL,"
        " coalesce(pg_has_role(n.nspowner, 'USAGE'),"
        "          has_database_privilege(current_database(), 'CREATE'))"
        " FROM (SELECT 1) AS one LEFT JOIN pg_namespace AS n ON n.nspname = $1::text",
        ("paxcommit",),
    )
    exists, may_install = result.rows[0]
    version = (yield from read_version()) if exists else None
    if version is None:
        return Installed(None, may_install, (), ())
    records = yield from read_records()
    epochs = yield from participant_epochs()
    return Installed(version[0], may_install, records, epochs)


def read_drawn() -> Statements[Drawn | None]:
    """Read the acceptor's identity without drawing one; for the schema's owner.

    Raises:
        DatabaseError: The server refused.
    """
    # From the catalogue itself: to_regclass would make this session remember that there is no
    # schema, and `install`, after it waited for somebody else's, would still believe so.
    result = yield Sql(
        "SELECT FROM pg_tables WHERE schemaname = $1::text AND tablename = $2::text",
        ("paxcommit", "acceptor"),
    )
    if not result.rows:
        return None
    result = yield Sql(
        "SELECT a.identity::text, EXISTS (SELECT FROM paxcommit.myself)"
        " FROM paxcommit.acceptor AS a"
    )
    return Drawn(*result.rows[0]) if result.rows else None


def missing_roles(roles: Sequence[str]) -> Statements[list[str]]:
    """Return those of `roles` that the server does not have."""
    result = yield Sql(
        "SELECT r.name FROM unnest($1::text[]) AS r (name)"
        " WHERE NOT EXISTS (SELECT FROM pg_roles AS p WHERE p.rolname = r.name)",
        (list(roles),),
    )
    return [row[0] for row in result.rows]


def missing_grants(role: str | None, functions: Sequence[str]) -> Statements[list[str]]:
    """Return the schema's functions, out of `functions`, that `role` may not execute.

    Args:
        role: An existing role; None: the login's own.
        functions: By name; one that does not exist here is missing as well.
    """
    result = yield Sql(
        "SELECT f.name FROM unnest($2::text[]) AS f (name)"
        " WHERE NOT coalesce("
        "  (SELECT bool_and(has_function_privilege(coalesce($1::text, session_user::text)::name,"
        "                                          p.oid, 'EXECUTE'))"
        "     AND has_schema_privilege(coalesce($1::text, session_user::text)::name,"
        "                              'paxcommit', 'USAGE')"
        "   FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace"
        "   WHERE n.nspname = 'paxcommit' AND p.proname = f.name), false)"
        " ORDER BY 1",
        (role, list(functions)),
    )
    return [row[0] for row in result.rows]
