"""Follows the logs of ``paxcommit recover --watch``: what do recoverers say that they finished?"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.events import Final, Recovered

__all__ = ["follow_logs", "logged_damages"]

_LOOK_EVERY = 0.2
_LOGS = "r[0-9]*.log"
_DAMAGE = re.compile(rb" ERROR paxcommit\.\w+: damage at (\S+), transaction (\S+):")
_LINE = re.compile(rb" paxcommit\.recovery: transaction (\S+): (committed|aborted);")


class _Logs:
    def __init__(self, folder: Path, chronicle: Chronicle) -> None:
        self._folder = folder
        self._chronicle = chronicle
        self._read: dict[Path, int] = {}

    def look(self) -> None:
        """Write down what is new, line by whole line."""
        for path in sorted(self._folder.glob(_LOGS)):
            with path.open("rb") as log:
                log.seek(self._read.get(path, 0))
                text = log.read()
            whole = text.rpartition(b"\n")[0]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for txid, outcome in _LINE.findall(whole):
                final: Final = "committed" if outcome == b"committed" else "aborted"
                self._chronicle.note(
                    Recovered(0.0, txid.decode(), final, path.name.removesuffix(".log"))
                )

    async def follow(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(_LOOK_EVERY)


def logged_damages(folder: Path) -> set[tuple[str, str]]:
    """What any process logged as damage, as (transaction, participant).

    It is written down in the participant's database as well, unless that fails just then.
    """
    return {
        (txid.decode(), participant.decode())
        for path in folder.glob("*.log")
        for participant, txid in _DAMAGE.findall(path.read_bytes())
    }


@contextlib.asynccontextmanager
async def follow_logs(folder: Path, chronicle: Chronicle) -> AsyncIterator[None]:
    """Follow them for the length of the block, to their ends."""
    logs = _Logs(folder, chronicle)
    task = asyncio.create_task(logs.follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    logs.look()
