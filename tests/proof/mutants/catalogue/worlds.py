"""Mutants of the simulated world: rules that the real one keeps in SQL, broken in the simulator.

They show that the simulation would notice a PostgreSQL, or functions in it, that broke them.
"""

from __future__ import annotations

from tests.proof.mutants.mutant import mutant, simulate

__all__ = ["MUTANTS"]

POSTGRES = "tests/proof/simulation/postgres.py"
ACCEPTOR = "tests/proof/simulation/acceptors.py"

MUTANTS = (
    mutant(
        "simulated-reply-before-flush",
        "R12, trap 19",
        "an acknowledged vote is lost in a crash: two outcomes",
        (POSTGRES, "    answers_before_flush = False\n", "    answers_before_flush = True\n"),
        by=[simulate(1000)],
    ),
    mutant(
        "simulated-marks-not-compared",
        "R13, trap 22",
        "an acceptor that was put back to an old copy votes again: two outcomes",
        (ACCEPTOR, "    notices_losses = True\n", "    notices_losses = False\n"),
        by=[simulate(1000)],
    ),
    mutant(
        "simulated-digest-not-compared",
        "R2, R11",
        "an acceptor that was made anew votes for a cluster that it never belonged to",
        (ACCEPTOR, "    compares_digests = True\n", "    compares_digests = False\n"),
        by=[simulate(1000)],
    ),
)
