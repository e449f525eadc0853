"""What is measured when something is dead: that the scenarios run, and do what they say."""

from __future__ import annotations

from typing import Any

import pytest

from paxcommit.testing.bench.ailing import Ailment, play_ailing
from paxcommit.testing.bench.measuring import Schedule
from paxcommit.testing.bench.recovering import play_recovery

BRIEF = Schedule(seconds=0.1, warm=0.0, repetitions=1, seed=1)


def test_locks_of_a_killed_coordinator_are_seen_to_end() -> None:
    told: list[str] = []
    document = play_recovery(5, 2, "asyncpg", told.append)
    assert document["scenario"] == "recovery-5"
    assert len(document["seconds"]) == len(told) == 2
    assert min(document["seconds"]) > 0
    assert document["met"] is None  # nobody says how long five may take


@pytest.mark.parametrize("ailment", ["dead", "slow"])
def test_commits_go_on_while_an_acceptor_is_ill(ailment: Ailment) -> None:
    document: dict[str, Any] = play_ailing(
        ailment, "asyncpg", [1], BRIEF, lambda _: None, acceptors=["a2"]
    )
    key = f"throughput_acceptor_{ailment}_vs_alive_1"
    assert document["ratios"][key] > 0
    assert list(document["by_acceptor"][key]) == ["a2"]
