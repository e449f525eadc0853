"""Which acceptors are asked first: the quick ones, always the same ones, and after how long all."""

from __future__ import annotations

import pytest

from paxcommit.runtime.preference import Preference

THREE = ("a1", "a2", "a3")


class Clock:
    """A clock that is set by hand, and a preference on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.preference = Preference(THREE, lambda: self.now)
        assert self.choose() == (THREE, 0.0), "nothing is known yet: all are measured"

    def call(self, name: str, seconds: float, *, well: bool = True) -> None:
        self.preference.asked(name)
        self.now += seconds
        self.preference.answered(name, well=well)

    def choose(self, *away: str, limit: float = 1.0) -> tuple[tuple[str, ...], float]:
        choice = self.preference.choose(set(THREE) - set(away), limit)
        return choice.acceptors, choice.hedge


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    for name in THREE:
        clock.call(name, 0.003)
    return clock


def test_equals_are_not_exchanged(clock: Clock) -> None:
    for seconds in (0.003, 0.004, 0.0025):
        clock.call("a1", seconds)
        assert clock.choose()[0] == THREE


def test_a_slow_one_is_left_out_and_comes_back(clock: Clock) -> None:
    for _ in range(10):
        clock.call("a1", 0.05)
    assert clock.choose()[0] == ("a2", "a3", "a1")
    for _ in range(60):
        clock.call("a1", 0.003)
        clock.call("a2", 0.05)
    assert clock.choose()[0] == ("a3", "a1", "a2")


def test_one_that_does_not_answer_is_left_out_before_its_call_has_ended(clock: Clock) -> None:
    clock.preference.asked("a2")
    clock.now += 0.05
    assert clock.choose()[0] == ("a1", "a3", "a2")


def test_one_that_is_away_is_left_out(clock: Clock) -> None:
    assert clock.choose("a1")[0] == ("a2", "a3", "a1")
    assert clock.choose()[0] == ("a2", "a3", "a1"), "and does not disturb when it is back"


def test_one_that_answers_badly_is_left_out_until_it_answers_well(clock: Clock) -> None:
    clock.call("a2", 0.0001, well=False)
    assert clock.choose()[0] == ("a1", "a3", "a2")
    clock.call("a2", 0.003)
    clock.call("a3", 0.0001, well=False)
    assert set(clock.choose()[0][:2]) == {"a1", "a2"}


def test_the_hedge_follows_what_the_first_take(clock: Clock) -> None:
    quick = clock.choose()[1]
    for _ in range(50):
        clock.call("a1", 0.02)
        clock.call("a2", 0.02)
        clock.call("a3", 0.02)
    slow = clock.choose()[1]
    assert 0.005 <= quick < slow <= 0.25
    assert slow >= 0.04, "a request may wait for the call before it"
    assert clock.choose(limit=0.01)[1] == 0.01


def test_now_and_then_all_are_asked(clock: Clock) -> None:
    hedges = [clock.choose()[1] for _ in range(1023)]
    assert hedges.count(0.0) == 3


def test_a_single_acceptor_is_all_there_is() -> None:
    preference = Preference(("a1",), lambda: 0.0)
    for _ in range(3):
        assert preference.choose({"a1"}, 1.0).hedge == 0.0
