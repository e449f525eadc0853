"""Prepared transactions of somebody else's, which nobody of ours may touch (R2)."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator

from paxcommit.ids import Gid, TxId
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered
from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.events import DecoyPlaced
from paxcommit.testing.chaos.stage import Stage

__all__ = ["place_decoys"]


@contextlib.asynccontextmanager
async def place_decoys(stage: Stage, chronicle: Chronicle) -> AsyncIterator[None]:
    """Prepare one with a name of its own kind, and one that but for the digest might be ours.

    They hold no lock on anything, and are rolled back after the block if they can be.
    """
    first, *_, last = stage.banks
    foreign = Gid(secrets.token_hex(16), TxId(1, secrets.randbits(63), 1), last, 1)
    decoys = {f"somebody-elses-{secrets.token_hex(4)}": first, str(foreign): last}
    try:
        for gid, bank in decoys.items():
            async with stage.session(bank) as session:
                await session.execute(
                    Sql(f"begin; select pg_current_xact_id(); prepare transaction '{gid}'")
                )
            chronicle.note(DecoyPlaced(0.0, bank, gid))
        yield
    finally:
        for gid, bank in decoys.items():
            with contextlib.suppress(DatabaseError, Unanswered, OSError):
                await stage.rows(bank, f"rollback prepared '{gid}'")
