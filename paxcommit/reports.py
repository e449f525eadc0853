"""What recovery reports: to callers, to the command line, to logs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from paxcommit.ids import TxId
from paxcommit.protocol.finishing import Damage
from paxcommit.protocol.recovery import RecoveryMachine
from paxcommit.protocol.values import Outcome

__all__ = ["RecoveryReport", "Resolved"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a recoverer found out about one transaction, and did.

    Attributes:
        txid: The transaction.
        outcome: `Outcome.OPEN` if it could not be decided now.
        reason: How the outcome is known, or why it is open; in words.
        unapplied: Per participant, why the decision is not applied there yet.
        damage: Per participant, how its database contradicts the decision.
    """

    txid: TxId
    outcome: Outcome
    reason: str
    unapplied: Mapping[str, str]
    damage: Mapping[str, Damage]

    @classmethod
    def of(cls, machine: RecoveryMachine) -> Resolved:
        """Read it off a machine that is done."""
        resolution = machine.resolution
        return cls(
            machine.txid,
            resolution.outcome,
            resolution.reason,
            machine.unapplied,
            machine.damage,
        )

    def log(self, log: logging.Logger) -> None:
        """Log it, as loudly as it deserves."""
        level = logging.INFO if self.outcome is not Outcome.OPEN else logging.DEBUG
        level = logging.ERROR if self.damage else logging.WARNING if self.unapplied else level
        log.log(level, "transaction %s: %s; %s", self.txid, self.outcome, self.reason)
        for participant, reason in self.unapplied.items():
            log.warning("transaction %s, %s: not applied yet: %s", self.txid, participant, reason)


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What one pass over all participants came to.

    Attributes:
        in_doubt: How many branches were prepared when the pass began.
        resolved: The transactions that it took up.
        foreign: gids of other clusters or misplaced ones: seen, never touched.
        unreachable: Per participant that could not be asked, why.
    """

    in_doubt: int = 0
    resolved: tuple[Resolved, ...] = ()
    foreign: tuple[str, ...] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)

    @property
    def damaged(self) -> bool:
        """Whether any database contradicts a decision."""
        return any(each.damage for each in self.resolved)
