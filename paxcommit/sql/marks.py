"""What a process remembers of the acceptors' marks (R13, trap 24b)."""

from __future__ import annotations

import threading
from collections.abc import Mapping

__all__ = ["Marks"]


class Marks:
    """The highest mark seen of each acceptor, by identity; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, int] = {}

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
