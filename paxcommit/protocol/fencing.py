"""Forcing an outcome that the acceptors know nothing of: fence every participant first (R23).

A transaction unknown to F+1 acceptors may still be about to commit in *one* phase somewhere, so a
ballot alone could decide Aborted beside a committed COMMIT.  A fence in every registered
participant rules that out; a gid anywhere proves that it is not a one-phase transaction.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from paxcommit.protocol.effects import (
    Backoff,
    BackoffOver,
    Effect,
    Event,
    Fence,
    FenceAnswered,
    FenceBlocked,
    FenceStands,
    FenceUnreachable,
    Terminate,
)

__all__ = ["Fencing", "Finding"]

_MAX_ATTEMPTS = 20
_PREFIX = "fence:"


class Finding(enum.Enum):
    """What fencing came to."""

    LEAD = "a ballot may be led"
    COMMITTED = "committed in one phase"
    BRANCH = "a committed branch row stands where a fence was wanted"
    OPEN = "a participant could not be asked"


class Fencing:
    """Fences every registered participant, until one fact settles what may be done.

    Args:
        participants: All that are registered on F+1 acceptors (R2), not whichever a file names.
    """

    def __init__(self, participants: Sequence[str]) -> None:
        self._unfenced = set(participants)
        self._missing: dict[str, str] = {}
        self._attempts = dict.fromkeys(participants, 0)
        # No participant at all is a mistake of whoever asks, and no leave to decide anything.
        self.finding: Finding | None = None if participants else Finding.OPEN
        self.reason = "" if participants else "no registered participant is known"

    def start(self) -> list[Effect]:
        """Fence everywhere, in parallel."""
        return [effect for name in sorted(self._unfenced) for effect in self._again(name)]

    def handle(self, event: Event) -> list[Effect]:
        """Take one answer; `finding` is set once nothing more is needed."""
        if self.finding is not None:
            return []
        match event:
            case FenceAnswered(participant=name, answer=FenceStands(kind=kind)):
                self._stands(name, kind)
            case FenceAnswered(participant=name, answer=FenceBlocked(prepared=True)):
                self._found(Finding.LEAD, f"{name} has a prepared branch")
            case FenceAnswered(
                participant=name, answer=FenceBlocked(pid=pid, backend_start=started)
            ):
                if self._attempts[name] >= _MAX_ATTEMPTS:
                    self._missed(name, "the fence waits for another session")
                elif pid:
                    self._attempts[name] += 1
                    return [Terminate(name, pid, started)]
                else:
                    return [Backoff(_PREFIX + name, self._attempts[name])]
            case FenceAnswered(participant=name, answer=FenceUnreachable(reason=reason)):
                self._missed(name, reason)
            case BackoffOver(name=timer) if timer.startswith(_PREFIX):
                name = timer.removeprefix(_PREFIX)
                return self._again(name) if name in self._unfenced else []
            case _:
                pass
        return []

    def _again(self, name: str) -> list[Effect]:
        self._attempts[name] += 1
        return [Fence(name)]

    def _stands(self, name: str, kind: str) -> None:
        match kind:
            case "fence":
                self._unfenced.discard(name)
                self._conclude()
            case "only":
                self._found(Finding.COMMITTED, f"{name} committed it in one phase")
            case _:
                self._found(Finding.BRANCH, name)

    def _missed(self, name: str, reason: str) -> None:
        """Go on without it: another participant may still settle the matter by itself."""
        self._missing[name] = reason
        self._unfenced.discard(name)
        self._conclude()

    def _conclude(self) -> None:
        if self._unfenced:
            return
        if self._missing:
            why = "; ".join(f"{name}: {reason}" for name, reason in sorted(self._missing.items()))
            self._found(Finding.OPEN, why)
        else:
            self._found(Finding.LEAD, "every participant is fenced")

    def _found(self, finding: Finding, reason: str) -> None:
        self.finding, self.reason = finding, reason
