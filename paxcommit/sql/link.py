"""What else one says to an acceptor: greet it, hold it, ask who lives, register (R2, R13, R26)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paxcommit.errors import ClusterError
from paxcommit.sql.acceptor import Authority
from paxcommit.sql.marks import Marks
from paxcommit.sql.refusals import translate
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = [
    "Hello",
    "RegisteredParticipant",
    "Registration",
    "hello",
    "hold",
    "holders",
    "link_settings",
    "register_participant",
    "registered_participants",
]


@dataclass(frozen=True, slots=True)
class Hello:
    """An acceptor's greeting.

    Attributes:
        mark: Its own.
        peers: What it keeps of the other acceptors' marks, by identity.
        version: Of its schema.
        sealed: Whether the epoch takes no new transactions there (R30).
        retired: Whether the epoch is over there (R30).
        lost_votes: Whether it is below a mark that somebody remembers, and so out for ever (R13).
    """

    mark: int
    peers: Mapping[str, int]
    version: int
    sealed: bool
    retired: bool
    lost_votes: bool


@dataclass(frozen=True, slots=True)
class RegisteredParticipant:
    """A participant as acceptors know it: one name for one database (R2)."""

    name: str
    system_identifier: int
    database: str


class Registration(enum.Enum):
    """What came of registering a participant."""

    REGISTERED = "registered"
    PRESENT = "present"
    CONFLICT = "conflict"


def link_settings(
    *, idle: int = 5, interval: int = 2, count: int = 3, user_timeout: int = 10
) -> Statements[None]:
    """Set up a standing session: let the server notice a lost peer soon, and work as we need it.

    Args:
        idle: Seconds of silence before the first keepalive.
        interval: Seconds between keepalives.
        count: Keepalives without an answer before the connection counts as dead.
        user_timeout: Seconds that sent data may stay unacknowledged.
    """
    yield Sql(
        "SELECT set_config('tcp_keepalives_idle', $1::text, false),"
        " set_config('tcp_keepalives_interval', $2::text, false),"
        " set_config('tcp_keepalives_count', $3::text, false),"
        " set_config('tcp_user_timeout', $4::text, false),"
        # A role or database may have other defaults; votes and fences refuse them (R11).
        " set_config('default_transaction_isolation', 'read committed', false),"
        " set_config('default_transaction_read_only', 'off', false),"
        # It would end the session, and with it the lock that says we live (R26).
        " set_config('idle_session_timeout', '0', false)",
        (str(idle), str(interval), str(count), str(user_timeout * 1000)),
    )


def hello(authority: Authority, marks: Marks) -> Statements[Hello]:
    """Greet the acceptor: check that it is the one, and exchange marks both ways, exactly (R13).

    Args:
        authority: Which acceptor, in which epoch.
        marks: Sent along; what the acceptor tells of itself and its peers is added.

    Raises:
        ClusterError: See `ask`.
        DatabaseError: The server refused.
    """
    known = marks.snapshot()
    try:
        result = yield Sql(
            "SELECT about, mark, version, sealed, retired, lost_votes"
            " FROM paxcommit.hello($1::text, $2::text, $3::text[], $4::bigint[])",
            (authority.digest, authority.identity, list(known), list(known.values())),
        )
    except DatabaseError as error:
        raise translate(error) from error
    marks.told(authority.identity, known)
    told = {row[0]: int(row[1]) for row in result.rows}
    for identity, mark in told.items():
        marks.remember(identity, mark)
    own = told.pop(authority.identity)
    _, _, version, sealed, retired, lost_votes = result.rows[0]
    return Hello(own, told, version, sealed, retired, lost_votes)


def hold(coordinator: int) -> Statements[None]:
    """Take this incarnation's shared lock for the session: while it stands, we live (R26).

    Raises:
        ClusterError: Somebody holds that key exclusively, which nobody of ours does.
    """
    result = yield Sql("SELECT pg_try_advisory_lock_shared($1::bigint)", (coordinator,))
    if not result.rows[0][0]:
        raise ClusterError(
            f"advisory lock {coordinator} is held exclusively by another application; "
            "the coordinator's life cannot be shown there"
        )


def holders(authority: Authority, coordinators: Sequence[int]) -> Statements[frozenset[int]]:
    """Return those of `coordinators` that hold their lock at this acceptor.

    Raises:
        ClusterError: See `ask`.
        DatabaseError: The server refused.
    """
    try:
        result = yield Sql(
            "SELECT coordinator FROM paxcommit.holders($1::text, $2::text, $3::bigint[])",
            (authority.digest, authority.identity, list(coordinators)),
        )
    except DatabaseError as error:
        raise translate(error) from error
    return frozenset(row[0] for row in result.rows)


def register_participant(
    authority: Authority, marks: Marks, participant: RegisteredParticipant
) -> Statements[tuple[Registration, str]]:
    """Add a participant to the acceptor's registry; durable on return (R2).

    Returns:
        What came of it, and for a conflict which registration stands in the way.

    Raises:
        ClusterError: See `ask`.
        DatabaseError: The server refused.
    """
    try:
        result = yield Sql(
            "SELECT verdict, mark FROM paxcommit.register_participant("
            "$1::text, $2::text, $3::text, $4::bigint, $5::text)",
            (
                authority.digest,
                authority.identity,
                participant.name,
                participant.system_identifier,
                participant.database,
            ),
        )
    except DatabaseError as error:
        raise translate(error) from error
    verdict, mark = result.rows[0]
    marks.remember(authority.identity, mark)
    word, _, detail = verdict.partition(": ")
    return Registration(word), detail


def registered_participants(
    authority: Authority,
) -> Statements[Sequence[RegisteredParticipant]]:
    """Read the acceptor's registry, sorted by name.

    Raises:
        ClusterError: See `ask`.
        DatabaseError: The server refused.
    """
    try:
        result = yield Sql(
            "SELECT name, system_identifier, database"
            " FROM paxcommit.participants($1::text, $2::text)",
            (authority.digest, authority.identity),
        )
    except DatabaseError as error:
        raise translate(error) from error
    return tuple(RegisteredParticipant(*row) for row in result.rows)
