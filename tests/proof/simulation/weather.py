"""What a seed draws before anything happens: sizes, the work, and the mix of faults (swarm)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.proof.simulation.pool import Pool

__all__ = ["FAULTS", "Weather", "draw"]

FAULTS = (
    "die", "stall", "resume", "cut", "mend", "crash acceptor", "crash participant", "failover",
    "kill backend", "kill link", "restore acceptor", "seal",
)  # fmt: skip
"""Faults by name; each seed has some of them."""


@dataclass(frozen=True, slots=True)
class Weather:
    """See the module.

    Attributes:
        f: How many acceptors may fail.
        n: How many participants there are.
        transactions: How many are begun, at most.
        steps: Of the stormy part.
        loss: Of one request or answer.
        haste: That something comes out of order, a timer before everything else.
        fault: That one of `faults` strikes before a step.
        look: That somebody looks, asks or forces before a step.
        raises: That a block raises.
        reads: That a participant is only read.
        nasty: That a participant's work ends in something other than a plain write.
        hang: That a synchronous standby does not answer a PREPARE.
        disk: That a PREPARE meets a disk error.
        linger: That a backend is late to notice that its client is gone.
        pause: That a backend stops between two statements of a string.
        faults: Which faults there are.
        ages: Of branches, as their server's clock says: a key of `World.age`.
        synchronous: Whether participants have a synchronous standby.
        slots: ``max_prepared_transactions``.
        foreign: Whether there are gids of others.
        impostor: Whether some processes' settings lead to another acceptor.
        unregistered: Whether the last participant is registered when it is first used.
        strays: Whether there are branches that the coordinator does not hear of.
    """

    f: int
    n: int
    transactions: int
    steps: int
    loss: float
    haste: float
    fault: float
    look: float
    raises: float
    nasty: float
    reads: float
    hang: float
    disk: float
    linger: float
    pause: float
    faults: tuple[str, ...]
    ages: str
    synchronous: bool
    slots: int
    foreign: bool
    impostor: bool
    unregistered: bool
    strays: bool


def draw(pool: Pool) -> Weather:
    """Draw it."""
    pick, chance = pool.pick, pool.chance
    calm = chance(0.15)
    return Weather(
        f=pick((0, 1, 1, 1, 1, 1, 1, 2)),
        n=pick((1, 2, 2, 2, 2, 3, 3, 4)),
        transactions=pick((1, 1, 2, 2, 3)),
        steps=pick((60, 120, 120, 200)),
        loss=0.0 if calm else pick((0.0, 0.0, 0.03, 0.08, 0.2)),
        haste=0.0 if calm else pick((0.0, 0.0, 0.02, 0.1)),
        fault=0.0 if calm else pick((0.0, 0.01, 0.03, 0.06)),
        look=pick((0.0, 0.01, 0.03, 0.08)),
        raises=pick((0.0, 0.0, 0.05)),
        nasty=pick((0.0, 0.0, 0.1, 0.3)),
        reads=pick((0.05, 0.1, 0.1, 0.5)),
        hang=pick((0.0, 0.2, 0.5)),
        disk=pick((0.0, 0.0, 0.0, 0.05)),
        linger=pick((0.1, 0.6)),
        pause=pick((0.0, 0.0, 0.05, 0.15)),
        faults=tuple(fault for fault in FAULTS if chance(0.5)),
        ages=pick(("young", "settled", "old", "any", "any", "set back")),
        synchronous=chance(0.2),
        slots=pick((1, 2, 64, 64, 64, 64)),
        foreign=chance(0.2),
        impostor=chance(0.05),
        unregistered=chance(0.1),
        strays=chance(0.1),
    )
