"""What a run is to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be.

    Attributes:
        seconds: For how long clients work under faults; a short run takes longer, until every kind
            of fault had its turn.
        seed: Chooses the transactions of each client and the faults, never the timing.
        config: The settings' file of the user's own cluster; None: servers of our own.
        driver: See `AsyncCoordinator.open`.
        kinds: The kinds of fault to make; None: all that can be made there.
    """

    seconds: float
    seed: int
    config: Path | None = None
    driver: str | None = None
    kinds: frozenset[str] | None = None
