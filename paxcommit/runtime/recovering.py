"""What a recoverer's effects mean in SQL, and its sweep over all participants: plans."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from paxcommit import failpoints
from paxcommit.errors import InvariantViolation
from paxcommit.ids import Gid, TxId
from paxcommit.protocol.effects import (
    Apply,
    ApplyAnswered,
    Event,
    Fence,
    FenceAnswer,
    FenceAnswered,
    FenceBlocked,
    FenceStands,
    FenceUnreachable,
    Operation,
    Send,
    Terminate,
    Verdict,
)
from paxcommit.protocol.finishing import Applied, Busy, Damage, FinishAnswer, NotApplied
from paxcommit.protocol.messages import AcceptorName
from paxcommit.protocol.watching import Case, SeenBranch, Sightings, triage
from paxcommit.runtime.damages import write_down
from paxcommit.runtime.membership import Membership
from paxcommit.runtime.plan import Ask, Call, Plan, acceptor, fencing, standing
from paxcommit.sql import finish as finish_sql
from paxcommit.sql import link as link_sql
from paxcommit.sql.fencing import (
    Blocker,
    Standing,
    backend_pid,
    fence_blockers,
    place_fence,
    terminate_blocker,
)
from paxcommit.sql.finish import PreparedBranch, prepared_branches
from paxcommit.sql.statement import Sql, Statements, Unanswered
from paxcommit.sql.stuck import terminate_preparer

__all__ = ["Sweep", "lane_of", "operate", "sweep"]

_Applies: TypeAlias = Callable[[], Statements[FinishAnswer]]

_LANES = 4
_CROWD = 32


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one look at every participant and acceptor found.

    Attributes:
        cases: Transactions to resolve now.
        seen: Every branch of this cluster and epoch that is prepared.
        foreign: gids with another cluster's digest: reported, never touched (R2).
        unreachable: Per participant or acceptor that could not be asked, why.
    """

    cases: list[Case]
    seen: list[SeenBranch]
    foreign: list[str]
    unreachable: dict[str, str]


def sweep(
    members: Membership, served: Sequence[str], sightings: Sightings, now: float
) -> Plan[Sweep]:
    """Look for prepared branches, ask who lives, and tell whose branches to resolve now.

    Args:
        members: Whom to ask.
        served: Participants to look at.
        sightings: What earlier looks of this recoverer saw.
        now: Seconds on the recoverer's monotonic clock.
    """
    unreachable: dict[str, str] = {}
    foreign: list[str] = []
    seen: list[SeenBranch] = []
    lists = yield [Call(standing(name), prepared_branches()) for name in served]
    for name, branches in zip(served, lists, strict=True):
        if isinstance(branches, Exception):
            unreachable[name] = str(branches)
            continue
        for branch in branches:
            if branch.gid is None:
                continue
            if branch.gid.digest != members.record.digest or branch.gid.participant != name:
                foreign.append(branch.text)
                continue
            seen.append(SeenBranch(branch.gid.txid, name, branch.age, branch.gid.deadline))
    seen = sightings.age(seen, now)
    holders: Mapping[AcceptorName, Collection[int]] = {}
    if seen:
        holders = yield from _holders(members, sorted({b.txid.coordinator for b in seen}))
    return Sweep(triage(seen, holders, members.quorum), seen, foreign, unreachable)


def lane_of(txid: TxId, crowd: int) -> int:
    """Tell on which connections to apply a transaction's decision.

    Every one is a flush, and flushes of several sessions are one; so a crowd is spread over a few.

    Args:
        txid: The transaction.
        crowd: How many are resolved at this time.
    """
    return txid.seq % _LANES if crowd > _CROWD else 0


def _holders(
    members: Membership, coordinators: Sequence[int]
) -> Plan[Mapping[AcceptorName, Collection[int]]]:
    """Ask every acceptor which of these incarnations hold their lock there (R26)."""
    answers = yield [
        Call(acceptor(name), link_sql.holders(members.authority(name), coordinators))
        for name in members.acceptors
    ]
    return {
        name: answer
        for name, answer in zip(members.acceptors, answers, strict=True)
        if not isinstance(answer, Exception)
    }


def operate(
    effect: Operation, txid: TxId, members: Membership, seen: Mapping[str, int], lane: int = 0
) -> Plan[Event]:
    """The plan that carries out one effect of a `RecoveryMachine`.

    Args:
        effect: Its effect.
        txid: The transaction.
        members: Whom to talk to.
        seen: Participants at which a sweep has seen its gid, with the deadline that the gid spells.
        lane: On which connections to apply it; see `lane_of`.
    """
    match effect:
        case Send(acceptor=name, request=request):
            (event,) = yield [Ask(name, request)]
            answered: Event = event
            return answered
        case Apply(participant=name, verdict=verdict):
            commit = verdict is Verdict.COMMIT
            finish = partial(_finish, txid, name, commit, members, seen.get(name))
            fence = partial(finish_sql.fence, members.record.digest, txid, name)
            fences = verdict is Verdict.ROLL_BACK_AND_FENCE
            answer = yield from _apply(name, lane, finish, fence if fences else None)
            if isinstance(answer, Damage):
                answer = yield from write_down(txid, name, answer)
            return ApplyAnswered(name, answer)
        case Fence(participant=name):
            return FenceAnswered(name, (yield from _fence(txid, name, members)))
        case Terminate(participant=name, pid=pid, backend_start=started):
            (waiting,) = yield [Call(fencing(name), backend_pid())]
            if isinstance(waiting, int):
                answers = yield [
                    Call(fencing(name), _try_fence(txid, name, members)),
                    Call(standing(name), _terminate(waiting, Blocker(pid, started))),
                ]
                if isinstance(answers[0], Standing) and answers[0] is not Standing.BLOCKED:
                    return FenceAnswered(name, _stands(answers[0]))
            return FenceAnswered(name, (yield from _fence(txid, name, members)))
        case _:
            raise InvariantViolation(f"a recoverer has no use for {effect}")


# --- applying -----------------------------------------------------------------------------------


def _apply(name: str, lane: int, finish: _Applies, fence: _Applies | None) -> Plan[FinishAnswer]:
    """Finish whatever gid of the transaction is here; then, after Aborted, fence it off (R20).

    A fence may have to wait for a lock, so it goes over a connection where it holds up no other
    transaction's decision.
    """
    (answer,) = yield [Call(standing(name, lane), finish())]
    if lane and isinstance(answer, Unanswered):
        # No slot for one more, perhaps; the standing one has its own (R27), and asking is safe.
        (answer,) = yield [Call(standing(name), finish())]
    if fence is not None and isinstance(answer, Applied):
        failpoints.hit("fence-after-rollback", name, ".before")
        (answer,) = yield [Call(fencing(name, lane), fence())]
        failpoints.hit("fence-after-rollback", name, ".after")
    if isinstance(answer, Exception):
        return NotApplied(str(answer))
    finished: FinishAnswer = answer
    return finished


def _finish(
    txid: TxId, name: str, commit: bool, members: Membership, deadline: int | None = None
) -> Statements[FinishAnswer]:
    if deadline is not None:
        # Looking at all that is prepared for each that was seen would be quadratic.
        gids = [Gid(members.record.digest, txid, name, deadline)]
    else:
        gids = yield from _gids(txid, name, members)
    for gid in gids:
        finish = finish_sql.commit_prepared if commit else finish_sql.rollback_prepared
        answer = yield from finish(gid)
        if isinstance(answer, Busy) and not commit:
            # Its PREPARE hangs, e.g. on a synchronous standby; nothing else ends it (trap 3).
            yield from terminate_preparer(gid)
        if not isinstance(answer, Applied):
            return answer
    if commit and not gids:
        # Not prepared: committed by somebody else, or lost.  COMMIT PREPARED tells, and the
        # ledger (R19); which deadline the gid spelt does not matter, for there is none.
        return (yield from finish_sql.commit_prepared(Gid(members.record.digest, txid, name, 1)))
    return Applied()


def _gids(txid: TxId, name: str, members: Membership) -> Statements[list[Gid]]:
    branches: list[PreparedBranch] = yield from prepared_branches()
    return [
        branch.gid
        for branch in branches
        if branch.gid is not None
        and (branch.gid.digest, branch.gid.txid, branch.gid.participant)
        == (members.record.digest, txid, name)
    ]


# --- fencing before anything is decided (R23) ---------------------------------------------------


def _fence(txid: TxId, name: str, members: Membership) -> Plan[FenceAnswer]:
    """Look for a gid; else insert a fence, and see who makes it wait."""
    gids, waiting = yield [
        Call(standing(name), _gids(txid, name, members)),
        Call(fencing(name), backend_pid()),
    ]
    if isinstance(gids, Exception) or isinstance(waiting, Exception):
        return FenceUnreachable(str(gids if isinstance(gids, Exception) else waiting))
    if gids:
        return FenceBlocked(prepared=True)
    placed, blockers = yield [
        Call(fencing(name), _try_fence(txid, name, members)),
        Call(standing(name), _who_blocks(waiting)),
    ]
    if isinstance(placed, Exception):
        return FenceUnreachable(str(placed))
    if placed is not Standing.BLOCKED:
        return _stands(placed)
    if isinstance(blockers, Exception) or not blockers:
        return FenceBlocked(prepared=False)
    blocker: Blocker = blockers[0]
    return FenceBlocked(blocker.prepared, blocker.pid, blocker.backend_start or 0)


def _try_fence(txid: TxId, name: str, members: Membership) -> Statements[Standing]:
    return place_fence(members.record.digest, txid, name)


def _stands(standing_row: Standing) -> FenceAnswer:
    if standing_row is Standing.RETIRED:
        return FenceUnreachable("the epoch is retired there, and its rows are gone")
    return FenceStands(standing_row.value)


def _who_blocks(waiting: int) -> Statements[Sequence[Blocker]]:
    """Watch the fencing session until somebody blocks it or it waits no more."""
    for _ in range(_LOOKS):
        blockers = yield from fence_blockers(waiting)
        if blockers:
            return blockers
        result = yield Sql(
            "SELECT pg_sleep(0.02)::text,"
            " (SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1::int)",
            (waiting,),
        )
        if not result.rows[0][1]:
            break
    return ()


def _terminate(waiting: int, blocker: Blocker) -> Statements[bool]:
    """Terminate the blocker once the fencing session waits for it again."""
    for _ in range(_LOOKS):
        if (yield from terminate_blocker(waiting, blocker)):
            return True
        yield Sql("SELECT pg_sleep(0.02)::text")
    return False


_LOOKS = 25
"""How often, 20 ms apart, a fence that waits half a second is looked at."""
