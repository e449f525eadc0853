"""The acceptor's functions in a simulated PostgreSQL; the rule itself is the product's `step`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from paxcommit.ids import Ballot, TxId
from paxcommit.protocol import acceptor as rule
from paxcommit.protocol.acceptor import UNKNOWN, EpochState, Persist, Row
from paxcommit.protocol.messages import (
    Accepted,
    Conflict,
    Learn,
    Learned,
    LostVotes,
    Outbid,
    Phase1a,
    Phase2a,
    Phase2b,
    Request,
    Retired,
    Sealed,
)
from paxcommit.protocol.values import Instance, parse_value
from paxcommit.sql.statement import DatabaseError
from tests.proof.simulation.common import COMMON
from tests.proof.simulation.pool import Pool
from tests.proof.simulation.postgres import Backend, Handler, Query, Server
from tests.proof.simulation.truth import Truth

__all__ = ["Acceptor"]


class Acceptor(Server):
    """A server that hosts an acceptor.

    Args:
        pool, name, marks: See `Server`.
        identity: Its uuid.
        digest: Of the epoch record it holds.
        peers: The other acceptors' identities.
        truth: Hears what is flushed.
        counts: Whether it is an acceptor of this epoch at all.
    """

    KIND = "acceptor"
    compares_digests = True
    notices_losses = True
    """Broken acceptors, for the tests that show that this is noticed (R2, R13)."""

    def __init__(
        self,
        pool: Pool,
        name: str,
        marks: set[str],
        *,
        identity: str,
        digest: str,
        peers: Sequence[str],
        truth: Truth,
        counts: bool = True,
    ) -> None:
        super().__init__(pool, name, marks)
        self.counts = counts
        self.identity = identity
        self.digest = digest
        self.truth = truth
        self.rows: dict[TxId, Row] = {}
        self.row_marks: dict[TxId, int] = {}
        self.locked: set[TxId] = set()
        self.mark = 0
        self.own_mark = 0
        self.peer_marks = dict.fromkeys(peers, 0)
        self.lost_votes = False
        self.sealed = False
        self.registry: dict[str, tuple[int, str]] = {}
        self.restored = False

    def crashed(self) -> None:
        self.locked.clear()
        self.mark = self.own_mark + int(self.pool.random() * 33)  # sequences are logged ahead
        self.marks.add("server: acceptor crashed")
        if self.dropped:
            self.marks.add("acceptor: crash lost an accept")
        if self.kept:
            self.marks.add("acceptor: crash kept an unanswered accept")

    # --- copies ---------------------------------------------------------------------------------

    def copy(self) -> dict[str, Any]:
        """Take a backup of what is flushed."""
        return {
            "rows": dict(self.rows),
            "row_marks": dict(self.row_marks),
            "own_mark": self.own_mark,
            "mark": self.own_mark,
            "peer_marks": dict(self.peer_marks),
            "lost_votes": self.lost_votes,
            "registry": dict(self.registry),
        }

    def restore(self, backup: Mapping[str, Any]) -> None:
        """Put an old copy back; votes that came after it are lost."""
        for name, value in backup.items():
            setattr(self, name, value)
        self.restored = True

    # --- the functions --------------------------------------------------------------------------

    def gate(self, digest: str, identity: str) -> None:
        """R2, R11: compared in every call."""
        if identity != self.identity:
            raise DatabaseError("PX002", f"this is acceptor {self.identity}, not {identity}")
        if digest != self.digest and self.compares_digests:
            self.marks.add("acceptor: another epoch's digest refused")
            raise DatabaseError(
                "PX001", f"acceptor {identity} does not know the epoch record {digest}"
            )

    def notice_loss(self, remembered: int) -> None:
        """R13: somebody remembers a mark that we have not reached."""
        if remembered > self.own_mark and self.notices_losses:
            self.lost_votes = True

    def vote(self, backend: Backend, query: Query, phase: int) -> bool:
        """Both phases: one statement, one row per transaction, all or nothing per transaction."""
        digest, identity, remembered, ids, peer_marks, coordinators, seqs, ballots, *rest = (
            query.args
        )
        self.gate(digest, identity)
        if not coordinators or len(set(zip(coordinators, seqs, strict=True))) != len(coordinators):
            raise DatabaseError("PX003", "malformed bundle")
        txids = [TxId(1, c, s) for c, s in zip(coordinators, seqs, strict=True)]
        for txid in txids:
            if txid in self.locked:
                self.marks.add("acceptor: accept waits for a row")
                return self.wait(backend, txid, None)
        self.notice_loss(remembered)
        if len(txids) > 1:
            self.marks.add("acceptor: batch of several requests")
        if not self.lost_votes:
            self.mark += 1
        mark = backend.mark = 0 if self.lost_votes else self.mark
        epoch = EpochState(sealed=self.sealed, lost_votes=self.lost_votes)
        answers = []
        writes: dict[TxId, Persist] = {}
        for at, txid in enumerate(txids):
            ballot = Ballot(ballots[at])
            request: Request
            if phase == 1:
                request = Phase1a(txid, ballot)
            else:
                votes = json.loads(rest[0][at])
                values = {name: parse_value(text) for name, text in votes.items()}
                request = Phase2a(txid, ballot, values)
                if ballot == 0:
                    self.truth.ballot_zero(txid)
                    if backend.client is None or backend.client.broken:
                        self.marks.add("acceptor: late ballot 0 of a dead process")
            answer = rule.step(self.name, epoch, self.rows.get(txid, UNKNOWN), request)
            if isinstance(answer, Persist):
                writes[txid] = answer
            answers.append((txid.coordinator, txid.seq, *self._spell(answer, request), mark))
        query.rows, query.tag = answers, f"SELECT {len(answers)}"
        self.locked.update(writes)
        kept = [(who, m) for who, m in zip(ids, peer_marks, strict=True) if who in self.peer_marks]

        def flushed() -> None:
            for txid, write in writes.items():
                self.rows[txid], self.row_marks[txid] = write.row, mark
                if self.restored:
                    self.truth.broken(f"{self.name} votes although it lost votes (R13)")
                if isinstance(write.reply, Phase2b) and self.counts:
                    self.truth.accepted(self.name, txid, write.reply.ballot, write.reply.values)
            self.own_mark = max(self.own_mark, mark)
            for who, reached in kept:
                if reached >= self.peer_marks[who] + 16:  # lazily
                    self.peer_marks[who] = reached
            lost()

        def lost() -> None:
            self.locked.difference_update(writes)
            for txid in writes:
                self.wake(txid)

        return self.commit(backend, flushed, lost)

    def _spell(self, answer: rule.Step, request: Request) -> tuple[str, int, str]:
        if isinstance(answer, Persist):
            return "ok", answer.row.promised, _dump(answer.row.accepted)
        match answer.reply:
            case Learned(promised=promised, accepted=accepted):
                return "learned", promised, _dump(accepted)
            case Outbid(promised=promised):
                if isinstance(request, Phase2a) and request.ballot == 0:
                    self.marks.add("acceptor: ballot 0 outbid")
                return "outbid", promised, "{}"
            case Conflict(promised=promised):
                self.truth.broken(f"{self.name} holds another value at {request} (R6)")
                return "conflict", promised, "{}"
            case Sealed():
                self.marks.add("acceptor: sealed")
                return "sealed", -1, "{}"
            case LostVotes():
                self.marks.add("acceptor: lost votes refused")
                return "lost", -1, "{}"
            case Retired():
                return "retired", -1, "{}"

    # --- handlers -------------------------------------------------------------------------------

    def _phase1a(self, backend: Backend, query: Query) -> bool:
        return self.vote(backend, query, 1)

    def _phase2a(self, backend: Backend, query: Query) -> bool:
        return self.vote(backend, query, 2)

    def _learn(self, backend: Backend, query: Query) -> bool:
        digest, identity, coordinators, seqs = query.args
        self.gate(digest, identity)
        epoch = EpochState(lost_votes=self.lost_votes)
        rows = []
        for c, s in zip(coordinators, seqs, strict=True):
            txid = TxId(1, c, s)
            request = Learn(txid)
            answer = rule.step(self.name, epoch, self.rows.get(txid, UNKNOWN), request)
            rows.append((c, s, *self._spell(answer, request), self.row_marks.get(txid, 0)))
        query.rows, query.tag = rows, f"SELECT {len(rows)}"
        return True

    def _hello(self, backend: Backend, query: Query) -> bool:
        digest, identity, ids, peer_marks = query.args
        told = dict(zip(ids, peer_marks, strict=True))
        self.gate(digest, identity)
        self.notice_loss(told.pop(identity, 0))
        if self.lost_votes:
            self.marks.add("acceptor: lost votes refused")
        rows = [(self.identity, self.own_mark, 1, self.sealed, False, self.lost_votes)]
        backend.mark = self.own_mark

        def flushed() -> None:
            for who, mark in told.items():
                if mark > self.peer_marks.get(who, 0):
                    self.peer_marks[who] = mark

        for who, mark in sorted(self.peer_marks.items()):
            rows.append((who, max(mark, told.get(who, 0)), 1, self.sealed, False, self.lost_votes))
        query.rows, query.tag = rows, f"SELECT {len(rows)}"
        return self.commit(backend, flushed)

    def _holders(self, backend: Backend, query: Query) -> bool:
        digest, identity, coordinators = query.args
        self.gate(digest, identity)
        held = {lock for other in self.backends.values() for lock in other.locks}
        query.rows = [(c,) for c in coordinators if c in held]
        query.tag = f"SELECT {len(query.rows)}"
        return True

    def _hold(self, backend: Backend, query: Query) -> bool:
        backend.locks.add(query.args[0])
        query.rows, query.tag = [(True,)], "SELECT 1"
        return True

    def _participants(self, backend: Backend, query: Query) -> bool:
        self.gate(*query.args)
        if self.lost_votes:
            raise DatabaseError("PX006", f"acceptor {self.identity} has lost votes")
        query.rows = [(name, *who) for name, who in sorted(self.registry.items())]
        query.tag = f"SELECT {len(query.rows)}"
        return True

    def _register(self, backend: Backend, query: Query) -> bool:
        digest, identity, name, system_identifier, database = query.args
        self.gate(digest, identity)
        if self.lost_votes:
            raise DatabaseError("PX006", f"acceptor {self.identity} has lost votes")
        self.mark += 1
        mark, who = self.mark, (system_identifier, database)
        standing = self.registry.get(name)
        verdict = "registered" if standing is None else "present"
        if standing not in (None, who):
            verdict = f"conflict: participant {name} is registered otherwise"
        query.rows, query.tag = [(verdict, mark)], "SELECT 1"

        def flushed() -> None:
            self.registry.setdefault(name, who)
            self.own_mark = max(self.own_mark, mark)

        return self.commit(backend, flushed)

    HANDLERS: ClassVar[dict[str, Handler]] = {
        **COMMON,
        "SELECT coordinator, seq, verdict, promised, accepted, mark FROM paxcommit.phase1a("
        "$1::text, $2::text, $3::bigint, $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],"
        " $8::bigint[])": _phase1a,
        "SELECT coordinator, seq, verdict, promised, accepted, mark FROM paxcommit.phase2a("
        "$1::text, $2::text, $3::bigint, $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],"
        " $8::bigint[], $9::text[])": _phase2a,
        "SELECT coordinator, seq, verdict, promised, accepted, mark FROM paxcommit.learn("
        "$1::text, $2::text, $3::bigint[], $4::bigint[])": _learn,
        "SELECT about, mark, version, sealed, retired, lost_votes"
        " FROM paxcommit.hello($1::text, $2::text, $3::text[], $4::bigint[])": _hello,
        "SELECT coordinator FROM paxcommit.holders($1::text, $2::text, $3::bigint[])": _holders,
        "SELECT pg_try_advisory_lock_shared($1::bigint)": _hold,
        "SELECT name, system_identifier, database"
        " FROM paxcommit.participants($1::text, $2::text)": _participants,
        "SELECT verdict, mark FROM paxcommit.register_participant("
        "$1::text, $2::text, $3::text, $4::bigint, $5::text)": _register,
    }


def _dump(accepted: Mapping[Instance, Accepted]) -> str:
    return json.dumps({name: [held.ballot, held.value.spell()] for name, held in accepted.items()})
