"""A participant's database: which one it is, whether it is fit, its epochs and its damages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paxcommit.ids import TxId
from paxcommit.protocol.finishing import Damage
from paxcommit.sql.refusals import translate
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = [
    "ParticipantEpoch",
    "ParticipantIdentity",
    "RecordedDamage",
    "adopt_epoch",
    "damages",
    "participant_epochs",
    "participant_identity",
    "record_damage",
]


@dataclass(frozen=True, slots=True)
class ParticipantIdentity:
    """What tells one participant's database from another, and whether it can take part.

    Attributes:
        system_identifier: Of its server.
        database: Its name there.
        role: Who we are there.
        in_recovery: A standby shows no prepared transactions and takes none (trap 15).
        max_prepared_transactions: 0 is the default and means that none can be prepared (trap 12).
        orphan_timeout: ``prepared_orphaned_transaction_timeout`` where the server has it; it must
            be ``0``, or decided branches are rolled back (trap 16).
    """

    system_identifier: int
    database: str
    role: str
    in_recovery: bool
    max_prepared_transactions: int
    orphan_timeout: str | None


@dataclass(frozen=True, slots=True)
class ParticipantEpoch:
    """An epoch that the database takes part in, and under which name (R31)."""

    epoch: int
    digest: str
    participant: str
    retired: bool


@dataclass(frozen=True, slots=True)
class RecordedDamage:
    """A contradiction that somebody found here.

    Attributes:
        txid: The transaction.
        participant: Whose branch.
        damage: What and why.
        detected_at: When, in UTC, as ISO 8601.
    """

    txid: TxId
    participant: str
    damage: Damage
    detected_at: str


def participant_identity() -> Statements[ParticipantIdentity]:
    """Read it; needs no schema.

    Raises:
        DatabaseError: The server refused.
    """
    result = yield Sql(
        "SELECT system_identifier, current_database()::text, current_user::text,"
        " pg_is_in_recovery(), current_setting('max_prepared_transactions')::int,"
        " current_setting('prepared_orphaned_transaction_timeout', true)"
        " FROM pg_control_system()"
    )
    return ParticipantIdentity(*result.rows[0])


def participant_epochs() -> Statements[Sequence[ParticipantEpoch]]:
    """Read the epochs that this database takes part in, oldest first; none without a schema.

    Raises:
        SchemaError: The role may not.
        DatabaseError: The server refused.
    """
    try:
        result = yield Sql(
            "SELECT epoch, digest, participant, retired FROM paxcommit.participant_epochs()"
        )
    except DatabaseError as error:
        if error.sqlstate in ("3F000", "42883"):
            return ()
        raise translate(error) from error
    return tuple(ParticipantEpoch(*row) for row in result.rows)


def adopt_epoch(epoch: int, digest: str, participant: str) -> Statements[ParticipantEpoch]:
    """Make this database a participant of the epoch, unless it is one; return what stands.

    For the owner.  Write-once: compare the answer with what was asked.

    Raises:
        SchemaError: No schema, or the role may not.
        DatabaseError: The server refused.
    """
    try:
        result = yield Sql(
            "SELECT epoch, digest, participant, retired"
            " FROM paxcommit.adopt_epoch($1::bigint, $2::text, $3::text)",
            (epoch, digest, participant),
        )
    except DatabaseError as error:
        raise translate(error) from error
    return ParticipantEpoch(*result.rows[0])


def record_damage(txid: TxId, participant: str, what: str, detail: str) -> Statements[None]:
    """Write down a contradiction for the person on call; repeatable.

    Args:
        txid: The transaction.
        participant: Whose branch.
        what: See `Damage.what`; once per transaction, participant and this.
        detail: See `Damage.detail`.

    Raises:
        SchemaError: No schema, or the role may not.
        DatabaseError: The server refused.
    """
    try:
        yield Sql(
            "SELECT paxcommit.record_damage($1::text, $2::text, $3::text, $4::text)",
            (str(txid), participant, what, detail),
        )
    except DatabaseError as error:
        raise translate(error) from error


def damages() -> Statements[Sequence[RecordedDamage]]:
    """Read what was written down, oldest first.

    Raises:
        SchemaError: No schema, or the role may not.
        DatabaseError: The server refused.
    """
    try:
        result = yield Sql(
            "SELECT txid, participant, what, detail, detected_at FROM paxcommit.damages()"
        )
    except DatabaseError as error:
        raise translate(error) from error
    return tuple(
        RecordedDamage(TxId.parse(txid), participant, Damage(what, detail), at)
        for txid, participant, what, detail, at in result.rows
    )
