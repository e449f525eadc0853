"""Answers that are none: what a process is told when nothing came back."""

from __future__ import annotations

from typing import assert_never

from paxcommit.ids import TxId
from paxcommit.protocol.effects import (
    Apply,
    ApplyAnswered,
    BackoffOver,
    BranchAnswered,
    CommitOnly,
    CommitReader,
    Event,
    Fence,
    FenceAnswered,
    FenceUnreachable,
    Prepare,
    Terminate,
    TimerFired,
)
from paxcommit.protocol.finishing import NotApplied
from paxcommit.protocol.messages import NoAnswer
from paxcommit.protocol.resource_manager import Unknown
from tests.proof.model.database import Command, FenceOff
from tests.proof.model.freezing import Interner, freeze

__all__ = ["Losses"]


class Losses:
    """Numbers the events that stand for a lost request or a lost answer."""

    def __init__(self, txid: TxId, events: Interner[Event]) -> None:
        self._txid = txid
        self._events = events

    def of_request(self, acceptor: str) -> int:
        """No answer came from an acceptor."""
        return self._event(NoAnswer(self._txid, acceptor, "lost"))

    def of_branch(self, participant: str) -> int:
        """The connection of a branch broke."""
        return self._event(BranchAnswered(participant, Unknown("the connection broke")))

    def of_command(self, command: Command) -> int:
        """No answer came to a command."""
        name = command.participant
        match command:
            case Prepare() | CommitOnly() | CommitReader():
                return self.of_branch(name)
            case Fence() | Terminate():
                return self._event(FenceAnswered(name, FenceUnreachable("lost")))
            case Apply() | FenceOff():
                return self._event(ApplyAnswered(name, NotApplied("lost")))
            case _:
                assert_never(command)

    def of_answer(self, event: int) -> int | None:
        """An answer under way is lost; None: it is no answer."""
        match self._events[event]:
            case BranchAnswered(participant=name):
                return self.of_branch(name)
            case ApplyAnswered(participant=name):
                return self._event(ApplyAnswered(name, NotApplied("lost")))
            case FenceAnswered(participant=name):
                return self._event(FenceAnswered(name, FenceUnreachable("lost")))
            case TimerFired() | BackoffOver():
                return None
            case answer:
                return self.of_request(answer.acceptor)

    def _event(self, event: Event) -> int:
        return self._events.number(freeze(event), event)
