"""What a process remembers of the acceptors' marks (R13, trap 24b)."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping

__all__ = ["Marks"]

_STEP = 16
"""How far a mark moves before the other acceptors are told: they keep it lazily."""


class Marks:
    """The highest mark seen of each acceptor, by identity; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, int] = {}
        self._told: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def remember(self, identity: str, mark: int) -> None:
        """Remember `mark`, unless a higher one is remembered already."""
        with self._lock:
            if mark > self._marks.get(identity, 0):
                self._marks[identity] = mark

    def of(self, identity: str) -> int:
        """Return the highest mark remembered of `identity`; 0 if none."""
        with self._lock:
            return self._marks.get(identity, 0)

    def snapshot(self) -> Mapping[str, int]:
        """Return all that is remembered, as it is now."""
        with self._lock:
            return dict(self._marks)

    def due(self, identity: str) -> Mapping[str, int]:
        """Return the others' marks that it is time to tell `identity` of; mostly none."""
        with self._lock:
            told = self._told[identity]
            return {
                other: mark
                for other, mark in self._marks.items()
                if other != identity and mark >= told.get(other, 0) + _STEP
            }

    def told(self, identity: str, marks: Mapping[str, int]) -> None:
        """Note that `identity` has heard of `marks`."""
        if marks:
            with self._lock:
                self._told[identity].update(marks)
