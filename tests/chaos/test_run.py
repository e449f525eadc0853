"""A run of chaos on real servers: faults fire, the judge is content, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.errors import ConfigurationError
from paxcommit.settings import Settings
from paxcommit.testing import Layout
from paxcommit.testing.chaos.events import (
    AcceptorRefused,
    Answered,
    Asked,
    Begun,
    DamageReported,
    DecoyPlaced,
    Deed,
    FaultBegun,
    FaultEnded,
    FinalBank,
    ProcessEnded,
    ProcessStarted,
    Recovered,
    Run,
    Seen,
)
from paxcommit.testing.chaos.history import History, Recorder, read_history
from paxcommit.testing.chaos.judging import judge
from paxcommit.testing.chaos.plan import Plan
from paxcommit.testing.chaos.run import run

OWN = frozenset(
    {
        *("kill-coordinator", "pause-coordinator", "manual-rollback"),
        *("partition-one-way", "black-hole", "drop"),
        *("restart-server", "restored-acceptor"),
    }
)
ON_A_USERS = frozenset({"kill-coordinator", "kill-recoverer", "partition-halves", "half-close"})


def play(plan: Plan, path: Path) -> History:
    with Recorder(path) as recorder:
        run(plan, recorder.write)
    return read_history(path)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    path = tmp_path_factory.mktemp("chaos") / "history.jsonl"
    return play(Plan(seconds=4.0, seed=7, kinds=OWN), path)


def of(history: History, kind: type) -> list:
    return [event for event in history.events if isinstance(event, kind)]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_judge_finds_nothing(history: History) -> None:
    verdict = judge(history)
    assert not verdict.violations


def test_every_kind_of_fault_fired_and_says_how_it_knows(history: History) -> None:
    kinds = {event.fault: event.kind for event in of(history, FaultBegun)}
    fired = {kinds[event.fault]: event.proof for event in of(history, FaultEnded)}
    assert set(fired) == OWN == set(of(history, Run)[0].planned)
    assert all(proof["count"] > 0 and proof["known by"] for proof in fired.values())


def test_clients_did_things_of_every_shape(history: History) -> None:
    assert {event.shape for event in of(history, Begun)} == {
        *("transfer", "local", "reader", "self-abort")
    }
    assert {event.answer for event in of(history, Answered)} >= {"committed", "aborted"}
    assert of(history, Seen)
    assert of(history, Recovered)


def test_whoever_got_no_answer_is_answered_in_the_end(history: History) -> None:
    answered = {e.txid for e in of(history, Answered) if e.answer != "unknown"}
    open_ = {e.txid for e in of(history, Begun)} - answered
    last = {e.txid: e.outcome for e in of(history, Asked)}
    assert set(last) == open_ != set()
    assert set(last.values()) <= {"committed", "aborted"}


def test_a_branch_rolled_back_by_hand_is_reported_as_damage(history: History) -> None:
    deeds = {(event.txid, event.participant) for event in of(history, Deed)}
    reported = {(event.txid, event.participant) for event in of(history, DamageReported)}
    assert deeds == reported != set()


def test_the_restored_acceptor_refused(history: History) -> None:
    assert {event.acceptor for event in of(history, AcceptorRefused)} == {"a3"}


def test_decoys_are_there_in_the_end_and_nothing_else(history: History) -> None:
    decoys = Counter((event.bank, event.gid) for event in of(history, DecoyPlaced))
    left = Counter((event.bank, gid) for event in of(history, FinalBank) for gid in event.prepared)
    assert decoys == left
    assert decoys.total() == 2


def test_everybody_is_gone(history: History) -> None:
    started = {event.process: event.pid for event in of(history, ProcessStarted)}
    ended = {event.process: event.how for event in of(history, ProcessEnded)}
    assert set(ended) == set(started)
    assert set(ended.values()) == {"killed", "stopped"}
    assert all(is_gone(pid) for pid in started.values())


async def test_a_users_own_cluster(make_layout: Callable[..., Layout], tmp_path: Path) -> None:
    layout = make_layout()
    await initialise(Settings.load(layout.settings), choose_async())
    config = layout.write_config(tmp_path)

    plan = Plan(seconds=3.0, seed=1, config=config, kinds=ON_A_USERS)
    history = await asyncio.to_thread(play, plan, tmp_path / "history.jsonl")
    verdict = judge(history)
    assert not verdict.violations
    assert set(verdict.faults) == ON_A_USERS
    # A second run starts from what the first one left in the accounts.
    plan = Plan(seconds=1.0, seed=2, config=config, kinds=frozenset({"drop"}))
    history = await asyncio.to_thread(play, plan, tmp_path / "history.jsonl")
    assert not judge(history).violations
    assert not [gid for name in layout.participants for gid in layout.place(name).prepared()]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no kind of fault earthquake"):
        run(Plan(1.0, 1, kinds=frozenset({"earthquake"})), print)


def test_a_users_servers_are_not_ours_to_break(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not with --config"):
        run(Plan(1.0, 1, tmp_path, kinds=frozenset({"kill-server"})), print)


async def test_a_users_cluster_has_to_be_initialised(layout: Layout, tmp_path: Path) -> None:

    config = layout.write_config(tmp_path)
    with pytest.raises(ConfigurationError, match="paxcommit init"):
        await asyncio.to_thread(run, Plan(1.0, 1, config), print)
