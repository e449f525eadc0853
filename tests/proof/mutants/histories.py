"""The judge of chaos is a checker as well: hand-made bad histories, each of which it rejects."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from tests.proof.mutants.tools import last_json
from tests.proof.mutants.tree import ROOT

__all__ = ["AT_LEAST", "Histories", "judge_histories"]

AT_LEAST = 20
"""How many bad histories there have to be."""


@dataclass(frozen=True, slots=True)
class Histories:
    """What came of them.

    Attributes:
        rejected: How many the judge rejected.
        problem: What is wrong with that, if anything.
    """

    rejected: int
    problem: str


def judge_histories() -> Histories:
    """Have them judged."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.chaos.bad_histories", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = last_json(ran.stdout)
    rejected = said.get("rejected", said.get("histories", 0))
    if not isinstance(rejected, int) or ran.returncode != 0 or said.get("ok") is not True:
        tail = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
        return Histories(0, f"exit code {ran.returncode}: {' '.join(tail)}")
    few = f"{rejected} of at least {AT_LEAST} were rejected" if rejected < AT_LEAST else ""
    return Histories(rejected, few)
