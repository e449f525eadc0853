"""How often a recoverer looks."""

from __future__ import annotations

from paxcommit.runtime.timing import pause_between_looks


def test_a_crowd_is_looked_at_less_often() -> None:
    """Found by measuring: a crowd was listed again and again while it was being finished."""
    assert pause_between_looks(0.25, 0) == 0.25
    assert pause_between_looks(0.25, 128) < 0.27
    assert pause_between_looks(0.25, 20_000) == 2.75
