"""What the demo came to, as numbers and as claims that hold or do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from paxcommit.testing.bank import Verdict
from paxcommit.testing.demo.kills import Kill
from paxcommit.testing.demo.outage import Outage
from paxcommit.testing.demo.reckoning import Reckoning
from paxcommit.testing.demo.two_phase import Blocked

__all__ = ["MINIMUM_KILLS", "Result", "percentile"]

MINIMUM_KILLS = 10


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed; 0 if there are none."""
    if not values:
        return 0.0
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@dataclass(frozen=True, slots=True)
class Result:
    """See the module.

    Attributes:
        kills: In order.
        outages: Of acceptors' servers.
        reckoning: Transfers, and whether the answers were true.
        money_before: In all accounts, read before the first transfer.
        verdict: The judge's, after the last one.
        two_phase: What plain two-phase commit came to.
        seed: Repeats the choices, though not the timing.
        seconds: The whole demo took.
    """

    kills: tuple[Kill, ...]
    outages: tuple[Outage, ...]
    reckoning: Reckoning
    money_before: int
    verdict: Verdict
    two_phase: Blocked
    seed: int
    seconds: float

    @property
    def recovery_ms(self) -> dict[str, float]:
        """From SIGKILL until no lock of that coordinator was left."""
        times = [kill.recovery_ms for kill in self.kills]
        return {
            "p50": round(percentile(times, 0.5), 1),
            "p99": round(percentile(times, 0.99), 1),
            "max": round(max(times, default=0.0), 1),
        }

    @property
    def broken_claims(self) -> list[str]:
        """What should hold and does not, in words."""
        verdict, reckoning = self.verdict, self.reckoning
        stuck = sum(not kill.free for kill in self.kills)
        claims = {
            f"{len(verdict.half_committed)} transfers are half committed": (
                not verdict.half_committed
            ),
            f"there were {self.money_before:,} in the banks and now there are "
            f"{verdict.money_after:,}": self.money_before == verdict.money_after,
            f"the balances of {', '.join(verdict.misbooked)} do not fit their transfers": (
                not verdict.misbooked
            ),
            f"{reckoning.acknowledged_lost} acknowledged transfers are lost": (
                reckoning.acknowledged_lost == 0
            ),
            f"{reckoning.false_answers} answers are contradicted by the databases": (
                reckoning.false_answers == 0
            ),
            f"{reckoning.unknown} transfers could not be decided": reckoning.unknown == 0,
            f"{len(verdict.prepared)} branches are left prepared, with {verdict.locks} locks": (
                not verdict.prepared and verdict.locks == 0
            ),
            f"{stuck} killed coordinators still held locks when we gave up": stuck == 0,
            f"only {len(self.kills)} coordinators were killed, not {MINIMUM_KILLS}": (
                len(self.kills) >= MINIMUM_KILLS
            ),
            "no kill left a branch in doubt, so nothing was shown": any(
                kill.in_doubt for kill in self.kills
            ),
            "nothing was committed while an acceptor's server was down": bool(self.outages)
            and all(outage.committed for outage in self.outages),
            "plain two-phase commit did not block": self.two_phase.blocked,
            "what plain two-phase commit left could not be cleaned up by hand": (
                self.two_phase.free
            ),
        }
        return [claim for claim, holds in claims.items() if not holds]

    @property
    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        reckoning = asdict(self.reckoning)
        return {
            "transfers": self.reckoning.committed + self.reckoning.aborted + self.reckoning.unknown,
            **reckoning,
            "coordinator_kills": len(self.kills),
            "kills_in_doubt": sum(kill.in_doubt > 0 for kill in self.kills),
            "in_doubt_at_kill": sum(kill.in_doubt for kill in self.kills),
            "recovery_ms": self.recovery_ms,
            "acceptor_outages": len(self.outages),
            "committed_during_outage": sum(outage.committed for outage in self.outages),
            "money_before": self.money_before,
            "money_after": self.verdict.money_after,
            "half_committed": len(self.verdict.half_committed),
            "prepared_left": len(self.verdict.prepared),
            "locks_left": self.verdict.locks,
            "two_phase_commit_blocked": self.two_phase.blocked,
            "two_phase_commit_waited_ms": round(self.two_phase.waited_ms),
            "broken_claims": self.broken_claims,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
        }
