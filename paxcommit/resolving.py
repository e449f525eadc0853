"""Which machine resolves a transaction, for both runners."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from paxcommit.errors import ClusterError
from paxcommit.ids import TxId
from paxcommit.protocol.recovery import Mandate, RecoveryMachine
from paxcommit.protocol.values import Outcome
from paxcommit.protocol.watching import Case
from paxcommit.reports import Resolved
from paxcommit.runtime.membership import Membership
from paxcommit.runtime.plan import Call, Plan, standing
from paxcommit.settings import Settings
from paxcommit.sql.finish import branch_kind

__all__ = ["Unfinished", "asked", "check_epoch", "forced", "from_case", "look_for_one_phase"]

_PATIENCE = 10.0
"""Seconds that a recoverer takes at least: a short deadline must not keep it from finishing."""


def check_epoch(txid: TxId, members: Membership) -> None:
    """Refuse a transaction of an epoch that is not known here.

    Raises:
        ClusterError: It is of another epoch; nothing was looked up.
    """
    if txid.epoch != members.record.epoch:
        raise ClusterError(
            f"transaction {txid} is of epoch {txid.epoch}; this cluster knows epoch "
            f"{members.record.epoch} only. Is it of another cluster?"
        )


def from_case(case: Case, settings: Settings, members: Membership) -> RecoveryMachine:
    """For a branch that was seen in a sweep."""
    return RecoveryMachine(
        case.txid,
        members.acceptors,
        served=tuple(members.sites),
        seen=case.seen,
        mandate=case.mandate,
        patience=max(settings.deadline, _PATIENCE),
    )


def asked(txid: TxId, settings: Settings, members: Membership) -> RecoveryMachine:
    """For a mere question: it learns, and changes nothing."""
    return RecoveryMachine(
        txid,
        members.acceptors,
        served=(),
        mandate=Mandate.LEARN,
        patience=max(settings.deadline, _PATIENCE),
    )


def forced(
    txid: TxId, settings: Settings, members: Membership, registered: Sequence[str]
) -> RecoveryMachine:
    """For a demand: it decides, and applies what was decided (R23)."""
    return RecoveryMachine(
        txid,
        members.acceptors,
        served=tuple(members.sites),
        mandate=Mandate.FORCE,
        patience=max(settings.deadline, _PATIENCE),
        registered=registered,
    )


def look_for_one_phase(resolved: Resolved, members: Membership) -> Plan[Resolved]:
    """The acceptors do not know it: see whether one participant committed it alone (R17)."""
    names = tuple(members.sites)
    digest = members.record.digest
    kinds = yield [Call(standing(name), branch_kind(digest, resolved.txid, name)) for name in names]
    for name, kind in zip(names, kinds, strict=True):
        if kind == "only":
            return dataclasses.replace(
                resolved, outcome=Outcome.COMMITTED, reason=f"{name} committed it in one phase"
            )
    return resolved


class Unfinished:
    """Decided transactions that could not be applied everywhere: taken up again (R20).

    Their gids may be gone already, so that no sweep would find them; a fence that is still missing
    is what lets a late PREPARE in.  Bounded: the oldest is forgotten first, and whatever a late
    PREPARE of it leaves behind is then found by a sweep.
    """

    def __init__(self) -> None:
        self._waits: dict[TxId, _Wait] = {}

    def note(self, resolved: Resolved) -> bool:
        """Take a result into account; tell whether it is news."""
        wait = self._waits.pop(resolved.txid, None)
        # Open, though it was decided: the acceptors did not answer now, and it is owed as before.
        owed = wait is not None if resolved.outcome is Outcome.OPEN else _is_owed(resolved)
        if not owed:
            return True
        if wait is None:
            left = _Wait(1, 1)
        elif wait.left > 0:  # somebody else's look: it says nothing of how long to wait
            left = wait
        else:
            looks = min(2 * wait.looks, _MAX_LOOKS)
            left = _Wait(looks, looks)
        self._waits[resolved.txid] = left
        if len(self._waits) > _MAX_UNFINISHED:
            del self._waits[next(iter(self._waits))]
        return wait is None

    def beside(self, cases: Sequence[Case]) -> list[Case]:
        """Return `cases`, and those of its own that are due; to be called once per sweep."""
        due = []
        for txid, wait in self._waits.items():
            wait.left -= 1
            if wait.left <= 0:
                due.append(txid)
        known = {case.txid for case in cases}
        return [
            *cases,
            # To learn is not always enough: a later ballot that stopped half way hides what an
            # earlier one chose.  To lead is safe, for what is chosen is chosen again.
            *(Case(txid, Mandate.LEAD, {}) for txid in due if txid not in known),
        ]


def _is_owed(resolved: Resolved) -> bool:
    return bool(resolved.unapplied) or not all(each.written for each in resolved.damage.values())


@dataclasses.dataclass(slots=True)
class _Wait:
    """How many sweeps a transaction is left alone, and how many of them are left."""

    looks: int
    left: int


_MAX_LOOKS = 256
_MAX_UNFINISHED = 10_000
