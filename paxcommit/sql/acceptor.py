"""Asking an acceptor: a mixed batch of requests becomes at most one SQL call of each kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from paxcommit.errors import InvariantViolation, require
from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.messages import (
    Accepted,
    AcceptorAnswer,
    Conflict,
    Learn,
    Learned,
    LostVotes,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Request,
    Retired,
    Sealed,
)
from paxcommit.protocol.values import Instance, parse_value
from paxcommit.sql.marks import Marks
from paxcommit.sql.refusals import translate
from paxcommit.sql.statement import DatabaseError, Sql, Statements

__all__ = ["MAX_REQUESTS", "Authority", "ask"]

MAX_REQUESTS = 10_000
"""How many requests one `ask` takes."""

_PHASE1A = (
    "SELECT coordinator, seq, verdict, promised, accepted, mark FROM paxcommit.phase1a("
    "$1::text, $2::text, $3::bigint, $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],"
    " $8::bigint[])"
)
_PHASE2A = (
    "SELECT coordinator, seq, verdict, promised, accepted, mark FROM paxcommit.phase2a("
    "$1::text, $2::text, $3::bigint, $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],"
    " $8::bigint[], $9::text[])"
)
_LEARN = (
    "SELECT coordinator, seq, verdict, promised, accepted, mark FROM paxcommit.learn("
    "$1::text, $2::text, $3::bigint[], $4::bigint[])"
)


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom a call is meant for; every call carries it and the acceptor compares it (R2, R11).

    Attributes:
        acceptor: The acceptor's name.
        identity: Its uuid in the epoch record.
        epoch: The epoch.
        digest: The epoch record's.
    """

    acceptor: str
    identity: str
    epoch: int
    digest: str


def ask(
    authority: Authority, marks: Marks, requests: Sequence[Request]
) -> Statements[list[AcceptorAnswer]]:
    """Put `requests` to the acceptor behind this connection.

    Requests of one transaction are answered in their order; between transactions there is none.

    Args:
        authority: Which acceptor, in which epoch.
        marks: What is remembered of all acceptors; the replies' marks are added.
        requests: Of the authority's epoch, at most `MAX_REQUESTS`.

    Returns:
        One answer for each request, in their order.

    Raises:
        ClusterError: The acceptor refused the call as a whole: `IdentityMismatch` (R2, R13),
            `SchemaError`, or a setting (isolation level, fsync).  The message says which.
        DatabaseError: The server refused.  Earlier requests of the batch may be answered already,
            and durable; asking again is harmless.
    """
    require(len(requests) <= MAX_REQUESTS, f"{len(requests)} requests in one batch")
    require(
        all(request.txid.epoch == authority.epoch for request in requests),
        "a batch belongs to one epoch",
    )
    answers: dict[int, AcceptorAnswer] = {}
    try:
        for turn in _turns(requests):
            for kind in (Phase1a, Phase2a, Learn):
                batch = {at: one for at, one in turn.items() if isinstance(one, kind)}
                if not batch:
                    continue
                due = marks.due(authority.identity)
                result = yield _call(authority, marks, due, list(batch.values()))
                if kind is not Learn:
                    marks.told(authority.identity, due)
                rows = {(row[0], row[1]): row[2:] for row in result.rows}
                for at, request in batch.items():
                    key = (request.txid.coordinator, request.txid.seq)
                    require(key in rows, "%s left out %s", authority.acceptor, request.txid)
                    answers[at] = _read(authority, marks, request, rows[key])
    except DatabaseError as error:
        raise translate(error) from error
    return [answers[at] for at in range(len(requests))]


def _turns(requests: Sequence[Request]) -> Sequence[Mapping[int, Request]]:
    """Split a batch so that no transaction is twice in a turn: one call takes it once (R10)."""
    next_turn: dict[TxId, int] = {}
    turns: list[dict[int, Request]] = []
    for at, request in enumerate(requests):
        turn = next_turn.get(request.txid, 0)
        next_turn[request.txid] = turn + 1
        if turn == len(turns):
            turns.append({})
        turns[turn][at] = request
    return turns


def _call(
    authority: Authority, marks: Marks, due: Mapping[str, int], batch: Sequence[Request]
) -> Sql:
    """Spell one call; `batch` is not empty and of one kind."""
    whom = (authority.digest, authority.identity)
    memory = (*whom, marks.of(authority.identity), list(due), list(due.values()))
    transactions = (
        [request.txid.coordinator for request in batch],
        [request.txid.seq for request in batch],
    )
    ballots = [int(request.ballot) for request in batch if not isinstance(request, Learn)]
    match batch[0]:
        case Phase1a():
            return Sql(_PHASE1A, (*memory, *transactions, ballots))
        case Phase2a():
            votes = [_spell(request) for request in batch if isinstance(request, Phase2a)]
            return Sql(_PHASE2A, (*memory, *transactions, ballots, votes))
        case Learn():
            return Sql(_LEARN, (*whom, *transactions))
        case never:
            assert_never(never)


def _spell(request: Phase2a) -> str:
    return json.dumps({instance: value.spell() for instance, value in request.values.items()})


def _read(
    authority: Authority, marks: Marks, request: Request, row: Sequence[Any]
) -> AcceptorAnswer:
    """Make an answer of ``verdict, promised, accepted, mark``."""
    verdict, promised, accepted, mark = row
    marks.remember(authority.identity, mark)
    txid, acceptor = request.txid, authority.acceptor
    match verdict, request:
        case "ok", Phase1a(ballot=ballot):
            return Phase1b(txid, acceptor, ballot, _parse(accepted))
        case "ok", Phase2a(ballot=ballot, values=values):
            return Phase2b(txid, acceptor, ballot, values)
        case "learned", Learn():
            return Learned(txid, acceptor, Ballot(promised), _parse(accepted))
        case "outbid", _:
            return Outbid(txid, acceptor, Ballot(promised))
        case "conflict", Phase2a():
            return Conflict(txid, acceptor, Ballot(promised))
        case "sealed", Phase2a():
            return Sealed(txid, acceptor)
        case "retired", _:
            return Retired(txid, acceptor)
        case "lost", _:
            return LostVotes(txid, acceptor)
        case _:
            raise InvariantViolation(f"{acceptor} answered {verdict!r} to {request}")


def _parse(text: str) -> Mapping[Instance, Accepted]:
    return {
        instance: Accepted(Ballot(ballot), parse_value(value))
        for instance, (ballot, value) in json.loads(text).items()
    }
