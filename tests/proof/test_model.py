"""The model checker finds what it should, the shortest way, and the same every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from paxcommit.protocol import leader
from paxcommit.protocol.effects import Verdict
from paxcommit.protocol.fencing import Fencing, Finding
from paxcommit.protocol.leader import proposal
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import Accepted
from paxcommit.protocol.recovery import RecoveryMachine
from paxcommit.protocol.values import Instance, Outcome, Value, Vote
from tests.proof.model import freezing
from tests.proof.model.__main__ import main
from tests.proof.model.explorer import explore
from tests.proof.model.paper import Paper
from tests.proof.model.running import COUNT, run_scope
from tests.proof.model.scope import Scope
from tests.proof.model.scopes import SCOPES
from tests.proof.model.world import State, World

ROOT = Path(__file__).parents[2]
SMALL = [name for name, scope in SCOPES.items() if 0 < (scope.states or 0) < 2_200]


class Hours:
    """A toy: a clock that may advance by one or by three hours, and must not show nine."""

    def initial(self) -> int:
        return 0

    def moves(self, state: int) -> Iterable[int]:
        return [(state + step) % 12 for step in (1, 3)]

    def check(self, state: int) -> str | None:
        return "it is nine" if state == 9 else None

    def trace(self, path: Sequence[int]) -> list[str]:
        return [f"{before} to {after}" for before, after in pairwise(path)]


# --- the explorer -------------------------------------------------------------------------------


def test_the_shortest_way_to_a_violation_is_found() -> None:
    found = explore(Hours()).violation
    assert found is not None
    assert (found.what, found.trace) == ("it is nine", ("0 to 3", "3 to 6", "6 to 9"))


def test_every_state_is_visited_once_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hours, "check", lambda self, state: None)
    assert explore(Hours()).states == 12


def test_more_states_than_there_may_be_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hours, "check", lambda self, state: None)
    with pytest.raises(OverflowError):
        explore(Hours(), limit=5)


# --- the paper ----------------------------------------------------------------------------------


def test_the_paper_with_one_rm() -> None:
    assert explore(Paper(rms=1)).violation is None


def test_majorities_that_do_not_meet_are_noticed() -> None:
    found = explore(Paper(rms=1, majority=1)).violation
    assert found is not None
    assert found.what == "two values chosen for rm1"
    assert found.trace[-1].startswith("a")


# --- scopes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_a_scope_has_as_many_states_as_pinned(name: str) -> None:
    result = run_scope(SCOPES[name])
    assert result.violation is None, result
    assert result.states == SCOPES[name].states


def test_another_count_is_reported_as_such() -> None:
    scope = Scope("x", "", (), states=1, works={"p1": "wrote"}, births=0)
    assert run_scope(scope).violation == COUNT
    assert run_scope(scope, pinned=False).violation is None


def test_every_scope_says_what_it_is_for_and_is_pinned() -> None:
    for scope in SCOPES.values():
        assert scope.purpose, scope.name
        assert scope.kills, scope.name
        assert scope.states is not None or scope.full, scope.name


def test_hashes_change_nothing() -> None:
    """The same states, and the same trace, whatever the order of sets."""
    script = (
        "from paxcommit.protocol.fencing import Fencing, Finding\n"
        "from tests.proof.model.__main__ import main\n"
        "main(['--scope', 'services-applied', '--no-pin', '--json'])\n"
        "Fencing.start = lambda self: self._found(Finding.LEAD, '') or []\n"
        "main(['--scope', 'force-one-phase', '--json'])\n"
    )

    def run(seed: str) -> list[dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return [_without_seconds(json.loads(line)) for line in done.stdout.splitlines()]

    first, second = run("0"), run("1")
    assert first[1]["trace"]
    assert first == second


def _without_seconds(result: dict[str, object]) -> dict[str, object]:
    result.pop("seconds", None)
    scopes = result.get("scopes", {})
    assert isinstance(scopes, dict)
    for scope in scopes.values():
        scope.pop("seconds")
    return result


class Recording(World):
    """Remembers all that could be judged, whatever the acceptors' names."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.seen: set[object] = set()

    def check(self, state: State) -> str | None:
        facts = self.facts(state)
        votes = tuple(sorted(tuple(map(str, sorted(each, key=str))) for each in facts.votes))
        databases = [(db.gid, db.row, db.prepared) for db in facts.databases.values()]
        self.seen.add((votes, *databases, facts.told, facts.settled))
        return super().check(state)


def test_states_taken_as_one_hide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither other names of acceptors nor what a machine never reads again lead elsewhere."""
    scope = Scope("x", "", (), works={"p1": "wrote"}, one_phase=False, served=False)
    reduced = Recording(scope)
    few = explore(reduced).states
    monkeypatch.setattr(Recording, "canonical", lambda self, state: state)
    monkeypatch.setattr(freezing, "_unread", lambda machine: ())
    literal = Recording(scope)
    many = explore(literal).states
    assert literal.seen == reduced.seen
    assert many > 5 * few


# --- mistakes, each caught ----------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def quorum_of_f(patch: pytest.MonkeyPatch) -> None:
    real = Learner.add

    def add(self: Learner, name: str, accepted: Mapping[Instance, Accepted]) -> None:
        real(self, name, accepted)
        for instance, vote in accepted.items():
            self._chosen.setdefault(instance, vote.value)

    patch.setattr(Learner, "add", add)


def free_becomes_prepared(patch: pytest.MonkeyPatch) -> None:
    def prepared(promises: Iterable[Mapping[Instance, Accepted]]) -> dict[Instance, Value]:
        held = list(promises)
        known = {name for accepted in held for name in accepted} | {"*"}
        return {
            name: value if name in known else Vote.PREPARED
            for name, value in proposal(held).items()
        }

    patch.setattr(leader, "proposal", prepared)


def forced_without_fences(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fencing, "start", lambda self: self._found(Finding.LEAD, "no fence") or [])


def aborted_without_a_fence(patch: pytest.MonkeyPatch) -> None:
    real = RecoveryMachine._verdicts

    def verdicts(self: RecoveryMachine, outcome: Outcome) -> dict[str, Verdict]:
        return {
            name: Verdict.ROLL_BACK if verdict is Verdict.ROLL_BACK_AND_FENCE else verdict
            for name, verdict in real(self, outcome).items()
        }

    patch.setattr(RecoveryMachine, "_verdicts", verdicts)


def recoverer_that_never_leads(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RecoveryMachine, "_lead", lambda self: self._stop("it waits"))


CAUGHT: dict[str, tuple[str, Patch, str]] = {
    "quorum of F": ("leaders", quorum_of_f, "told committed, and it is not"),
    "free becomes Prepared": ("services", free_becomes_prepared, "which never was"),
    "forced without fences": ("force-one-phase", forced_without_fences, "committed in one phase"),
    "no fence": ("late-prepare", aborted_without_a_fence, "after its abort was applied"),
    "a recoverer that never leads": ("restart", recoverer_that_never_leads, "it never ends"),
}


@pytest.mark.parametrize("mistake", CAUGHT)
def test_a_mistake_is_caught_with_the_way_there(
    mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, patch, expected = CAUGHT[mistake]
    patch(monkeypatch)
    result = run_scope(SCOPES[name], pinned=False)
    assert expected in (result.violation or "nothing"), result
    assert result.trace


def test_the_trace_says_who_did_what(monkeypatch: pytest.MonkeyPatch) -> None:
    quorum_of_f(monkeypatch)
    trace = run_scope(SCOPES["leaders"]).trace
    assert trace[-1].startswith("a1 accepts ballot 0: registrar={p1, p2} p1=Prepared p2=Prepared")
    assert "is told committed" in trace[-1]


# --- the command --------------------------------------------------------------------------------


def test_the_last_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scope", "duel", "two-owners", "--workers", "1"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["ok"] is True
    assert set(result["scopes"]) == {"duel", "two-owners"}
    assert result["states"] == sum(scope["states"] for scope in result["scopes"].values())


def test_a_violation_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forced_without_fences(monkeypatch)
    assert main(["--scope", "force-one-phase", "--json"]) == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["ok"], result["scope"]) == (False, "force-one-phase")
    assert "one phase" in result["violation"]
    assert result["states"] > 0


def test_the_list_names_every_scope(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(SCOPES)
