"""The epoch record: who the 2F+1 acceptors of an epoch are, written once (R2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from paxcommit.errors import SchemaError, require
from paxcommit.ids import check_name
from paxcommit.sql.refusals import translate
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = ["AcceptorIdentity", "EpochRecord", "claim_identity", "read_records", "write_record"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class AcceptorIdentity:
    """One acceptor, as the epoch record names it.

    Attributes:
        name: As in the settings.
        identity: The random uuid that its database drew.
        system_identifier: Of its server.
        database: Its database there.
    """

    name: str
    identity: str
    system_identifier: int
    database: str


@dataclass(frozen=True)
class EpochRecord:
    """What every acceptor of an epoch holds, and what its digest stands for.

    Attributes:
        epoch: From 1.
        cluster_id: Random, drawn by ``init``.
        cluster_name: As in the settings.
        acceptors: All 2F+1, sorted by name.
    """

    epoch: int
    cluster_id: str
    cluster_name: str
    acceptors: tuple[AcceptorIdentity, ...]

    def __post_init__(self) -> None:
        names = [acceptor.name for acceptor in self.acceptors]
        require(len(names) % 2 == 1, f"an epoch has 2F+1 acceptors, not {len(names)}")
        require(names == sorted(set(names)), f"acceptors must be sorted by distinct names: {names}")
        require(
            len({acceptor.identity for acceptor in self.acceptors}) == len(names),
            "one database cannot be two acceptors of an epoch",
        )
        for name in (self.cluster_name, *names):
            check_name(name)

    @property
    def f(self) -> int:
        """How many acceptors may fail."""
        return len(self.acceptors) // 2

    def canonical(self) -> str:
        """Spell the record as JSON, in the only way that has its digest."""
        content = {
            "acceptors": [
                {
                    "database": acceptor.database,
                    "identity": acceptor.identity,
                    "name": acceptor.name,
                    "system_identifier": acceptor.system_identifier,
                }
                for acceptor in self.acceptors
            ],
            "cluster_id": self.cluster_id,
            "cluster_name": self.cluster_name,
            "epoch": self.epoch,
            "format": _FORMAT,
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """32 hex digits; part of every gid and of every call to an acceptor."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:32]

    @classmethod
    def parse(cls, text: str) -> EpochRecord:
        """Parse what `canonical` spelt.

        Raises:
            SchemaError: It is no such spelling, or of a format that this code does not know.
        """
        try:
            content = json.loads(text)
            record = cls(
                content["epoch"],
                content["cluster_id"],
                content["cluster_name"],
                tuple(AcceptorIdentity(**acceptor) for acceptor in content["acceptors"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SchemaError(f"an epoch record is not readable by this code: {error}") from error
        if record.canonical() != text:
            raise SchemaError("an epoch record is of a format that this code does not know")
        return record


def read_records() -> Statements[Sequence[EpochRecord]]:
    """Read the epoch records that this acceptor holds, oldest first; none without a schema.

    Raises:
        SchemaError: The role may not read them, or one is not readable by this code.
    """
    try:
        result = yield Sql("SELECT record FROM paxcommit.records()")
    except DatabaseError as error:
        if error.sqlstate in ("3F000", "42883"):
            return ()
        raise translate(error) from error
    return tuple(EpochRecord.parse(row[0]) for row in result.rows)


def claim_identity(name: str) -> Statements[AcceptorIdentity]:
    """Make this database an acceptor, if it is none yet, and return its identity.  For the owner.

    Args:
        name: The acceptor's, in the settings.

    Raises:
        IdentityMismatch: It is one, but no longer where its identity was drawn (R13).
        SchemaError: No schema, or the role may not.
    """
    try:
        result = yield Sql(
            "SELECT identity, system_identifier, database FROM paxcommit.claim_identity()"
        )
    except DatabaseError as error:
        raise translate(error) from error
    identity, system_identifier, database = result.rows[0]
    return AcceptorIdentity(name, identity, system_identifier, database)


def write_record(record: EpochRecord) -> Statements[EpochRecord]:
    """Write the record unless the epoch has one here; return the one that stands.  For the owner.

    Raises:
        IdentityMismatch: The record does not name this database's acceptor.
        SchemaError: No schema, or the role may not.
    """
    try:
        result = yield Sql("SELECT paxcommit.write_record($1::text)", (record.canonical(),))
    except DatabaseError as error:
        raise translate(error) from error
    return EpochRecord.parse(result.rows[0][0])
