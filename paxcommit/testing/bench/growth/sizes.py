"""How far each of the four questions is followed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "Sizes"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The points that are measured.

    Attributes:
        participants: Values of N, with F=1.
        failures: Values of F, with N=2.
        backlogs: Transactions in doubt, from none upwards.
        rows: In every acceptor's table, from none upwards.
        counted_participants, counted_failures: Of these, where exact counts are told as well;
            each site has a server of its own then.
        clients: At the same time; the first is what backlogs and rows are measured with.
    """

    participants: tuple[int, ...]
    failures: tuple[int, ...]
    backlogs: tuple[int, ...]
    rows: tuple[int, ...]
    counted_participants: tuple[int, ...]
    counted_failures: tuple[int, ...]
    clients: tuple[int, ...]


FULL = Sizes(
    participants=(1, 2, 3, 4, 6, 8, 12, 16),
    failures=(0, 1, 2, 3),
    backlogs=(0, 10, 100, 1_000, 10_000),
    rows=(0, 10_000, 100_000, 1_000_000, 10_000_000),
    counted_participants=(1, 2, 3, 4, 6),
    counted_failures=(0, 1, 2, 3),
    clients=(1, 16),
)
"""What docs/growth.md shows."""
