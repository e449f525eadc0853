"""A share of the catalogue for those in a hurry: fixed, of every area, the cheap ones first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from tests.proof.mutants.mutant import Mutant

__all__ = ["sample"]

_COST = {"test": 1, "simulate": 2, "model": 2, "crashpoints": 9}


def _cost(mutant: Mutant) -> int:
    first = mutant.killers[0]
    needs_servers = first.tool == "test" and "tests/protocol/" not in first.what[0]
    return 4 if needs_servers else _COST[first.tool]


def sample(mutants: Sequence[Mutant], count: int) -> list[Mutant]:
    """Choose `count` of them: turn about from every area, the cheapest of it first."""
    areas: dict[str, list[Mutant]] = {}
    for mutant in sorted(mutants, key=_cost):
        areas.setdefault(mutant.area, []).append(mutant)
    turns = zip_longest(*areas.values())
    return [mutant for mutant in chain.from_iterable(turns) if mutant is not None][:count]
