"""What a system is to those who measure it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["AsyncSystem", "SyncSystem"]


class AsyncSystem(Protocol):
    """Commits transactions on asyncio, many at the same time."""

    async def open(self) -> None:
        """Open pools and whatever else is there once per process."""

    async def transact(self, row: int) -> float:
        """Update `row` at every participant, and commit.

        Returns:
            Seconds from the end of the work, where a block is left, to the end of the commit.
        """

    async def close(self) -> None:
        """Close what `open` opened."""


class SyncSystem(Protocol):
    """Commits transactions on threads, many at the same time."""

    def open(self) -> None:
        """See `AsyncSystem.open`."""

    def transact(self, row: int) -> float:
        """See `AsyncSystem.transact`."""

    def close(self) -> None:
        """See `AsyncSystem.close`."""
