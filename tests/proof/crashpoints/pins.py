"""How many cases there are: a lower count means that something is no longer looked at."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["too_few"]

_PINS: Mapping[tuple[str, int], int] = {
    ("singles", 2): 467,
    ("singles", 3): 501,
    ("pairs", 2): 370,
    ("pairs", 3): 566,
    ("cuts", 2): 288,
    ("cuts", 3): 351,
    ("zombies", 2): 43,
    ("zombies", 3): 50,
    # Nothing orders what its threads send, so that a few points are met now and then.
    ("sync", 2): 115,
}


def too_few(counts: Mapping[tuple[str, int], int], sample: int) -> list[str]:
    """Say in words which parts ran fewer cases than are pinned.

    Args:
        counts: By part and number of participants.
        sample: How many cases of each part were asked for; 0: all.
    """
    return [
        f"{part} with {n} participants: {count} cases, not {least}"
        for (part, n), count in counts.items()
        if (least := _least(part, n, sample)) > count
    ]


def _least(part: str, n: int, sample: int) -> int:
    least = _PINS.get((part, n), 0)
    return min(least, sample) if sample else least
