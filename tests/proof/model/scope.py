"""A scope: one small world, and how much may go wrong in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What there is, and how much may happen; all else may happen at any time and in any order.

    Attributes:
        name: Its name on the command line.
        purpose: What it is for, in a line.
        kills: Which mistakes do not survive it.
        states: Its pinned number of states; None: not known yet.
        works: Per participant, what the block did there (see `Database`).
        acceptors: 2F+1.
        top: The highest ballot that may be led.
        coordinator: ``machine``: the real `CommitMachine`; ``services``: every branch votes by
            itself, and the root proposes J; ``dead``: it died, and its votes are still under way.
        root_dies: Whether the root dies having proposed J.
        rivals: Whether a second owner of ballot 0 has sent other votes, too (R6 is broken).
        hedges: Whether the coordinator asks F+1 acceptors first, and the rest when that is late.
        one_phase: Whether a lone participant commits in one phase.
        recoverers: How many may run at the same time.
        births: How many may be started in all.
        mandates: With which mandates, as ``LEARN LEAD FORCE``.
        served: Whether recoverers can act on the participants' databases.
        deaths: How many processes may die.
        losses: How many requests or answers may be reported lost (the request may still arrive).
        doubles: How many requests may arrive twice.
        timers: Which timers may fire, of ``deadline finish give-up hedge``.
        in_turn: Whether the n-th leader leads ballot n, and begins once ballot n - 1 is promised.
        rebids: How many backoffs of leaders may end, in another ballot.
        retries: How many backoffs of applying and fencing may end.
        forgets: How many acceptors may be put back to an old, empty copy.
        breaks: How many running backends may end without a trace although somebody waits.
        late_answers: Whether answers are under way, too; else they arrive at once or never.
        heals: Whether every state must come to an end once nothing goes wrong any more.
        full: Whether it is for ``--full`` only.
    """

    name: str
    purpose: str
    kills: tuple[str, ...]
    states: int | None = None
    works: Mapping[str, str] = field(default_factory=lambda: {"p1": "wrote", "p2": "wrote"})
    acceptors: int = 3
    top: int = 1
    coordinator: str = "machine"
    root_dies: bool = True
    rivals: bool = False
    hedges: bool = False
    one_phase: bool = True
    recoverers: int = 1
    births: int = 1
    mandates: tuple[str, ...] = ("LEAD",)
    served: bool = True
    deaths: int = 0
    losses: int = 0
    doubles: int = 0
    timers: tuple[str, ...] = ()
    in_turn: bool = False
    rebids: int = 1
    retries: int = 1
    forgets: int = 0
    breaks: int = 0
    late_answers: bool = False
    heals: bool = False
    full: bool = False
