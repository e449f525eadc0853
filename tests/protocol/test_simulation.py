"""Random hostile runs of the whole protocol, and mutants that show that they notice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from paxcommit.errors import InvariantViolation
from paxcommit.ids import Ballot
from paxcommit.protocol import acceptor, leader
from paxcommit.protocol.coordinator import CommitMachine
from paxcommit.protocol.effects import BranchAnswered, Effect, Verdict
from paxcommit.protocol.fencing import Fencing, Finding
from paxcommit.protocol.leader import proposal
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import Accepted, Phase1a, Phase1b, Phase2a, Phase2b, Request
from paxcommit.protocol.recovery import RecoveryMachine
from paxcommit.protocol.resource_manager import Prepared, Unknown
from paxcommit.protocol.values import Instance, Outcome, Value, Vote
from tests.protocol.simulation import Broken, World

SEEDS = 1_500
ONCE_FAILED = [
    112,  # a reader's COMMIT answered after another reader's had failed: InvariantViolation
]


def test_no_storm_half_commits_lies_or_hangs() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        seen += World(seed).run().seen
    # A run that exercised nothing proves nothing.
    for who in ("coordinator", "learn", "lead", "force"):
        for outcome in Outcome:
            assert seen[f"{who} told {outcome}"] > 10, (who, outcome, seen)
    assert seen["deaths"] > 100
    assert seen["ballots"] > SEEDS / 10, "hardly a ballot above 0 was led"


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_a_seed_that_once_failed(seed: int) -> None:
    World(seed).run()


def test_a_seed_repeats_itself() -> None:
    assert World(7).run().log == World(7).run().log != World(8).run().log


# --- mutants: each takes out one cure ---------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]
Step = Callable[[str, acceptor.EpochState, acceptor.Row, Request], acceptor.Step]


def count_votes(key: Callable[..., Any], *, short: int = 0) -> Patch:
    def add(self: Learner, name: str, accepted: Mapping[Instance, Accepted]) -> None:
        for instance, vote in accepted.items():
            voters: Any = self._voters[key(name, instance, vote)]
            voters.add(name)
            if len(voters) >= self.quorum - short:
                self._chosen.setdefault(instance, vote.value)

    return lambda patch: patch.setattr(Learner, "add", add)


def propose(choose: Callable[[list[Mapping[Instance, Accepted]]], dict[Instance, Value]]) -> Patch:
    return lambda patch: patch.setattr(leader, "proposal", lambda heard: choose(list(heard)))


def free_is_prepared(heard: list[Mapping[Instance, Accepted]]) -> dict[Instance, Value]:
    known = {name: Vote.PREPARED for accepted in heard for name in accepted}
    return {**dict.fromkeys(proposal(heard), Vote.PREPARED), **proposal(heard), **known}
