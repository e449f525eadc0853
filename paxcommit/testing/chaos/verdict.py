"""What the judge says of a run: what broke, on which lines it rests, and what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from paxcommit.errors import require
from paxcommit.testing.chaos.events import Run

__all__ = ["MEANINGS", "Latency", "Verdict", "Violation"]

MEANINGS: Mapping[str, str] = {
    # --- what the databases show
    "half-committed": "one bank has the transaction and another has not",
    "commit-missing": "somebody was told committed, and no bank has it",
    "aborted-but-there": "somebody was told aborted, and the banks have it",
    "self-abort-took-effect": "its own code made it abort, and the banks have it",
    "nobody-began": "a transaction that no client began",
    "wrong-booking": "the banks' rows are not what the client wrote",
    "booked-twice": "a bank has a row of the transaction twice",
    "balance-wrong": "an account's balance is not what its transfers make of it",
    "accounts-changed": "accounts are missing, or more than there were",
    "money-not-conserved": "money was made or lost, and nothing else explains it",
    "prepared-left": "a branch is still prepared at the end",
    "locks-left": "a prepared transaction still holds locks at the end",
    "decoy-touched": "a prepared transaction of somebody else's is gone",
    "damage-not-reported": "a branch was rolled back by hand, and nobody reported the damage",
    "damage-without-deed": "damage was reported where nobody did any",
    "final-state": "a bank's final state is not there exactly once",
    # --- what was said
    "two-answers": "the client, outcome() and recovery do not say the same",
    "outcome-changed": "outcome() said one thing and later another",
    "unknown-never-resolved": "the client got no final answer, and asking brought none either",
    "never-answered": "the process ended in peace, and its client has no answer",
    "acknowledged-not-visible": "told committed, and a later reader did not see it",
    "aborted-but-visible": "told aborted, and a later reader saw it",
    # --- what cannot be
    "time-runs-backwards": "an event is earlier than the one above it",
    "begun-twice": "two transactions have the same id",
    "foreign-id": "a transaction's id is not of the incarnation that began it",
    "answered-before-begun": "the answer is above the beginning",
    "answered-twice": "one client, two answers",
    "answered-elsewhere": "the answer came from another process than began it",
    "answered-after-death": "a process spoke after it had ended",
    "unknown-process": "a process that never started",
    "started-twice": "two processes have one name or one incarnation",
    # --- processes and faults
    "process-failed": "a process ended by itself, or did not end in time",
    "process-left": "a process never ended",
    "fault-begun-twice": "two faults have the same id",
    "fault-never-begun": "a fault ended that had not begun",
    "fault-not-ended": "a fault has no end",
    "fault-without-proof": "nothing proves that the fault really fired",
    "planned-fault-missing": "a kind of fault was planned, and neither made nor skipped",
    "restored-acceptor-voted": "an acceptor restored from an old copy has voted",
    "restored-acceptor-never-refused": "an acceptor restored from an old copy was never put to it",
    # --- blocked, or too little to tell
    "stalled": "nothing committed for long, without any fault",
    "blocked": "a branch stayed in doubt for long, without any fault",
    "not-watched": "nobody looked how many branches were in doubt",
    "too-few-transactions": "too few transactions for the time",
    "no-commits": "no client was told committed",
    "no-aborts": "no client was told aborted",
    "no-unknowns": "no outcome was ever unknown, so asking for it was not tested",
    "no-recoveries": "recovery had nothing to do",
    "too-few-faults": "too few kinds of fault fired",
}
"""Every name that a violation may have, with what it means."""

_LISTED = 100


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Attributes:
        name: A key of `MEANINGS`.
        lines: The history's lines that it rests on, from 1.
        detail: What is wrong, with names and numbers.
        txid: The transaction concerned; empty if it is no single one.
    """

    name: str
    lines: tuple[int, ...]
    detail: str
    txid: str = ""

    def __post_init__(self) -> None:
        require(self.name in MEANINGS, f"no such violation: {self.name}")

    @property
    def meaning(self) -> str:
        """In general words."""
        return MEANINGS[self.name]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long clients waited for ``committed``, in milliseconds; 0 if nobody did."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """See the module.

    Attributes:
        run: What was judged.
        duration: Seconds from the first line to the last.
        violations: What must not be; a good run has none.
        begun: Transactions that clients began.
        committed, aborted, unknown: What their clients were told.
        unanswered: Those whose client died before it was told anything.
        unknown_resolved: Of the last two, how many ``outcome()`` decided.
        recoveries: Transactions that recoverers say they finished.
        half_committed: Transactions of which one bank knows and another does not, and no deed of
            ours explains it.
        prepared_left: Branches still prepared at the end.
        locks_left: Locks that prepared transactions held at the end.
        deeds: Branches that we rolled back by hand.
        damage_reported: Reports of damage, by transaction and participant.
        faults: Per kind, how many fired, with proof.
        skipped: Per kind that was skipped, why.
        latency: Of everything that committed.
        latency_in_faults: Of what committed while there was a fault.
        latency_outside: Of the rest.
        in_doubt_max: The most branches in doubt at once.
        in_doubt_age_max: The greatest age of a branch in doubt, in seconds.
    """

    run: Run
    duration: float
    violations: tuple[Violation, ...]
    begun: int
    committed: int
    aborted: int
    unknown: int
    unanswered: int
    unknown_resolved: int
    recoveries: int
    half_committed: int
    prepared_left: int
    locks_left: int
    deeds: int
    damage_reported: int
    latency: Latency
    latency_in_faults: Latency
    latency_outside: Latency
    in_doubt_max: int
    in_doubt_age_max: float
    faults: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything held, and enough was done to say so."""
        return not self.violations

    @property
    def document(self) -> dict[str, Any]:
        """For ``--json``; lists the first hundred violations and counts all."""
        return {
            "ok": self.ok,
            "violations": len(self.violations),
            "violation_list": [
                {**asdict(each), "lines": list(each.lines)} for each in self.violations[:_LISTED]
            ],
            "half_committed": self.half_committed,
            "prepared_left": self.prepared_left,
            "locks_left": self.locks_left,
            "faults": dict(self.faults),
            "skipped": dict(self.skipped),
            "transactions": self.begun,
            "committed": self.committed,
            "aborted": self.aborted,
            "unknown": self.unknown,
            "unanswered": self.unanswered,
            "unknown_resolved": self.unknown_resolved,
            "recoveries": self.recoveries,
            "deeds": self.deeds,
            "damage_reported": self.damage_reported,
            "latency_ms": {
                "all": asdict(self.latency),
                "in_faults": asdict(self.latency_in_faults),
                "outside": asdict(self.latency_outside),
            },
            "in_doubt_max": self.in_doubt_max,
            "in_doubt_age_max_s": self.in_doubt_age_max,
            "where": self.run.where,
            "driver": self.run.driver,
            "seed": self.run.seed,
            "seconds": self.run.seconds,
            "duration": self.duration,
        }
