"""Installing, upgrading and checking the schema ``paxcommit``.

Every database has the same schema, whatever it hosts.  A migration is one or more SQL files of
the same number; ``meta`` says which schema stands, and the oldest code that can work with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from paxcommit.errors import SchemaError
from paxcommit.sql.refusals import translate
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = [
    "MIGRATIONS",
    "SCHEMA_VERSION",
    "Migration",
    "check_schema",
    "ddl",
    "grants",
    "install",
    "quote_identifier",
    "read_version",
]

_ADVISORY_KEY = 0x7061_7863_6F6D_6D69
"""Installers take turns on it: "paxcommi"."""

_OWNERS_ONLY = frozenset({"adopt_epoch", "claim_identity", "write_record"})
"""Functions that define the cluster; only the schema's owner runs them."""

_FUNCTIONS = (
    "branch",
    "branch_kind",
    "damages",
    "fence",
    "fence_blockers",
    "hello",
    "holders",
    "learn",
    "participant_epochs",
    "participants",
    "phase1a",
    "phase2a",
    "record_damage",
    "records",
    "register_participant",
    "schema_version",
    "terminate_blocker",
    "wrote",
)
"""What a coordinator's or recoverer's role calls; everything else is internal."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    Attributes:
        version: The schema's version once it is applied.
        oldest_code: The oldest schema version whose code can work with the result.
        text: Its statements; run in one transaction.
    """

    version: int
    oldest_code: int
    text: str


def _packaged(version: int, *, oldest_code: int) -> Migration:
    folder = resources.files("paxcommit.sql.migrations")
    files = sorted(
        (file for file in folder.iterdir() if file.name.startswith(f"{version:04}_")),
        key=lambda file: file.name,
    )
    return Migration(version, oldest_code, "\n".join(file.read_text("utf-8") for file in files))


MIGRATIONS: Sequence[Migration] = (_packaged(1, oldest_code=1),)
"""All of them, oldest first, without gaps."""

SCHEMA_VERSION = MIGRATIONS[-1].version
"""The version that this code installs."""


def quote_identifier(name: str) -> str:
    """Quote `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def grants(role: str) -> str:
    """Return the statements that let `role` coordinate and recover; repeatable."""
    to = quote_identifier(role)
    functions = ", ".join(f"paxcommit.{name}" for name in _FUNCTIONS)
    return (
        f"GRANT USAGE ON SCHEMA paxcommit TO {to};\n"
        f"GRANT EXECUTE ON FUNCTION {functions} TO {to};\n"
    )


def ddl(roles: Sequence[str] = (), *, migrations: Sequence[Migration] = MIGRATIONS) -> str:
    """Return a script that installs the schema into a database that has none.

    Args:
        roles: Who may coordinate and recover; the owner may without being named.
        migrations: Of a test.
    """
    return "".join(
        [
            "BEGIN;\n",
            *(_step(migration) for migration in migrations),
            *(grants(role) for role in roles),
            "COMMIT;\n",
        ]
    )


def install(
    roles: Sequence[str] = (), *, migrations: Sequence[Migration] = MIGRATIONS
) -> Statements[bool]:
    """Install the schema or upgrade it, and grant its use, in one transaction.

    Args:
        roles: Who may coordinate and recover.
        migrations: Of a test.

    Returns:
        Whether anything had to be migrated.

    Raises:
        SchemaError: A newer schema stands there, or the role may not create one.
        DatabaseError: A statement failed; the transaction was rolled back.
    """
    newest = migrations[-1].version
    yield Sql("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
    try:
        yield Sql("SELECT pg_advisory_xact_lock($1::bigint)", (_ADVISORY_KEY,))
        standing = yield from _standing_version()
        if standing > newest:
            raise SchemaError(
                f"the paxcommit schema here has version {standing}; this code knows {newest}. "
                "Install a newer paxcommit."
            )
        missing = [migration for migration in migrations if migration.version > standing]
        for migration in missing:
            yield Sql(_step(migration))
        for role in roles:
            yield Sql(grants(role))
    except (DatabaseError, SchemaError):
        yield Sql("ROLLBACK")
        raise
    yield Sql("COMMIT")
    return bool(missing)


def read_version() -> Statements[tuple[int, int] | None]:
    """Read the schema's version and the oldest code it works with; None where there is none."""
    try:
        result = yield Sql("SELECT version, oldest_code FROM paxcommit.schema_version()")
    except DatabaseError as error:
        if error.sqlstate in ("3F000", "42883"):
            return None
        raise translate(error) from error
    version, oldest_code = result.rows[0]
    return int(version), int(oldest_code)


def check_schema(version: int = SCHEMA_VERSION) -> Statements[None]:
    """Check that code of schema `version` can work here.

    Code accepts its own schema, and the next one if that says so: that is what lets databases be
    upgraded before the processes that use them.

    Raises:
        SchemaError: It cannot; says what to do.
    """
    found = yield from read_version()
    if found is None:
        raise SchemaError("there is no paxcommit schema in this database; run `paxcommit init`")
    standing, oldest_code = found
    if standing < version:
        raise SchemaError(
            f"the paxcommit schema has version {standing}, this code needs {version}; "
            "run `paxcommit init`, which upgrades it"
        )
    if standing > version + 1 or oldest_code > version:
        raise SchemaError(
            f"the paxcommit schema has version {standing}, which code of version {version} "
            "cannot use; install a newer paxcommit"
        )


def _standing_version() -> Statements[int]:
    # Asked of the catalogue, for an error would end the transaction.
    # And by a query: to_regclass would repeat what this session cached before it had the lock.
    exists = yield Sql(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables"
        " WHERE schemaname = 'paxcommit' AND tablename = 'meta')"
    )
    if not exists.rows[0][0]:
        return 0
    result = yield Sql("SELECT version FROM paxcommit.meta")
    return int(result.rows[0][0])


def _step(migration: Migration) -> str:
    return (
        f"{migration.text}\n"
        "INSERT INTO paxcommit.meta (version, oldest_code)\n"
        f"VALUES ({migration.version}, {migration.oldest_code})\n"
        "ON CONFLICT (only_row) DO UPDATE\n"
        "SET version = excluded.version, oldest_code = excluded.oldest_code;\n"
        # Here, so that no migration can forget it.
        "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA paxcommit FROM PUBLIC;\n"
    )
