"""The facts of one server that make it fit, or unfit, to host an acceptor or a participant."""

from __future__ import annotations

from dataclasses import dataclass

from paxcommit.sql.statement import Sql, Statements

__all__ = ["ServerFacts", "read_facts"]

_FACTS = """
select current_setting('server_version'),
       current_setting('server_version_num')::int,
       pg_is_in_recovery(),
       current_setting('fsync') = 'on',
       current_setting('full_page_writes') = 'on',
       current_setting('synchronous_commit'),
       current_setting('max_prepared_transactions')::int,
       (select count(*) from pg_prepared_xacts)::int,
       coalesce(current_setting('prepared_orphaned_transaction_timeout', true), '0'),
       extract(epoch from clock_timestamp())::float8,
       (select system_identifier::text from pg_control_system()),
       current_database()::text,
       session_user::text,
       known.rolname is not null,
       coalesce(pg_has_role(known.rolname, 'MEMBER'), false),
       (select rolsuper from pg_roles where rolname = session_user)
from (select coalesce($1::text, session_user::text) as role) asked
left join pg_roles known on known.rolname = asked.role
"""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What one server says of itself.

    Attributes:
        version: For people, e.g. ``18.6``.
        version_num: For comparing, e.g. 180006.
        in_recovery: Whether it is a standby.
        fsync: The setting.
        full_page_writes: The setting.
        synchronous_commit: The session's setting.
        slots: ``max_prepared_transactions``.
        slots_used: How many of them hold a prepared transaction now, of all databases.
        orphan_timeout: ``prepared_orphaned_transaction_timeout``, ``0`` where there is no such
            setting (trap 16).
        clock: Seconds since 1970, by its clock.
        system_identifier: Of its data directory.
        database: Connected to.
        user: Logged in as.
        role_exists: Whether the role asked for exists.
        role_member: Whether `user` may become it.
        superuser: Whether `user` is one, and may finish anybody's prepared transactions.
    """

    version: str
    version_num: int
    in_recovery: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    slots: int
    slots_used: int
    orphan_timeout: str
    clock: float
    system_identifier: str
    database: str
    user: str
    role_exists: bool
    role_member: bool
    superuser: bool


def read_facts(role: str | None) -> Statements[ServerFacts]:
    """Ask a server for its facts.

    Args:
        role: The participant's configured role; None asks about ``session_user`` itself.
    """
    result = yield Sql(_FACTS, (role,))
    return ServerFacts(*result.rows[0])
