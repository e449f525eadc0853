"""Applying a decision to branches, with retries; damage is kept apart from what is only late."""

from __future__ import annotations

from collections.abc import Mapping

from paxcommit.protocol.effects import (
    Apply,
    ApplyAnswered,
    Backoff,
    BackoffOver,
    Effect,
    Event,
    Verdict,
)
from paxcommit.protocol.finishing import Applied, Busy, Damage, NotApplied

__all__ = ["Applying"]

_MAX_ATTEMPTS = 6
_PREFIX = "apply:"


class Applying:
    """Applies one verdict per branch, each apart from the others.

    Args:
        verdicts: What to do, per participant.
    """

    def __init__(self, verdicts: Mapping[str, Verdict]) -> None:
        self._verdicts = dict(verdicts)
        self._attempts = dict.fromkeys(verdicts, 0)
        self._open = set(verdicts)
        self.unapplied: dict[str, str] = {}
        self.damage: dict[str, Damage] = {}

    @property
    def done(self) -> bool:
        """Whether every branch is applied, damaged, or given up for now."""
        return not self._open

    def start(self) -> list[Effect]:
        """Apply everything, in parallel."""
        return [effect for name in sorted(self._verdicts) for effect in self._again(name)]

    def handle(self, event: Event) -> list[Effect]:
        """Take an answer, or the end of a backoff."""
        match event:
            case ApplyAnswered(participant=name, answer=answer) if name in self._open:
                match answer:
                    case Applied():
                        self._close(name)
                    case Damage():
                        self.damage[name] = answer
                        self._close(name)
                    case Busy(reason=reason) | NotApplied(reason=reason):
                        self.unapplied[name] = reason
                        if self._attempts[name] < _MAX_ATTEMPTS:
                            return [Backoff(_PREFIX + name, self._attempts[name])]
                        self._open.discard(name)
            case BackoffOver(name=timer) if timer.startswith(_PREFIX):
                name = timer.removeprefix(_PREFIX)
                return self._again(name) if name in self._open else []
            case _:
                pass
        return []

    def give_up(self) -> None:
        """Stop waiting; what is still open is unapplied, and recovery's."""
        for name in sorted(self._open):
            self.unapplied.setdefault(name, "no answer in time")
        self._open.clear()

    def _again(self, name: str) -> list[Effect]:
        self._attempts[name] += 1
        return [Apply(name, self._verdicts[name])]

    def _close(self, name: str) -> None:
        self._open.discard(name)
        self.unapplied.pop(name, None)
