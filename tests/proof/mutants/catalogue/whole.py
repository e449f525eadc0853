"""All mutants, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import ModuleType

from paxcommit.errors import require
from tests.proof.mutants.catalogue import (
    adapters,
    deciding,
    recovering,
    sql_acceptor,
    sql_participant,
    surroundings,
    voting,
    worlds,
)
from tests.proof.mutants.mutant import Mutant

__all__ = ["AREAS", "MUTANTS"]

AREAS: Mapping[str, ModuleType] = {
    "voting": voting,
    "deciding": deciding,
    "recovering": recovering,
    "acceptor's SQL": sql_acceptor,
    "participant's SQL": sql_participant,
    "surroundings": surroundings,
    "adapters": adapters,
    "simulated world": worlds,
}


def _all() -> dict[str, Mutant]:
    found: dict[str, Mutant] = {}
    for area, module in AREAS.items():
        for mutant in module.MUTANTS:
            require(mutant.name not in found, f"two mutants are called {mutant.name}")
            found[mutant.name] = dataclasses.replace(mutant, area=area)
    return found


MUTANTS: Mapping[str, Mutant] = _all()
