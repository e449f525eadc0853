"""Two ways to carry a transfer out: Paxos Commit, and the plain two-phase commit it replaces."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from typing import Literal, Protocol, TypeAlias

from paxcommit import failpoints
from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.async_transaction import AsyncTransaction
from paxcommit.errors import ClusterError, OutcomeUnknown, TransactionAborted
from paxcommit.ports import AsyncPool, AsyncSession, BeginOptions
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered
from paxcommit.testing.bank.ledger import Transfer

__all__ = ["Carrier", "Kind", "PaxosCommit", "Tell", "TwoPhaseCommit"]

Kind: TypeAlias = Literal["begun", "committed", "aborted", "unknown"]
"""What a client learns of a transaction; all but the first are answers."""

_log = logging.getLogger("paxcommit.testing.bank")

_PATIENCE = 20.0
"""Seconds that a client waits for accounts that somebody else holds."""


class Tell(Protocol):
    """Hears of every transaction, first that it begins, then the answer that the client got."""

    def __call__(self, kind: Kind, txid: str) -> None:
        """Hear of `txid`."""


class Carrier(Protocol):
    """Carries transfers out, many at once."""

    async def carry(self, transfer: Transfer, tell: Tell) -> None:
        """Try `transfer` once; whatever comes of it is told, not raised."""


class PaxosCommit:
    """Transfers through paxcommit's public interface, as any application would make them.

    Args:
        coordinator: Open.
    """

    def __init__(self, coordinator: AsyncCoordinator) -> None:
        self._coordinator = coordinator

    async def carry(self, transfer: Transfer, tell: Tell) -> None:
        """See `Carrier.carry`."""
        tx = self._coordinator.transaction()
        txid = str(tx.id)
        tell("begun", txid)
        tell(await self._try(tx, transfer), txid)

    async def _try(self, tx: AsyncTransaction, transfer: Transfer) -> Kind:
        refused = False
        try:
            async with tx:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        for leg in transfer.legs:
                            connection = await tx.connection(leg.account.bank)
                            await connection.execute(leg.sql(str(tx.id)))
                except Exception:
                    refused = True
                    raise
        except OutcomeUnknown as error:
            _log.warning("%s", error)
            return "unknown"
        except (TransactionAborted, ClusterError) as error:
            _log.info("%s", error)
            return "aborted"  # definite, or raised before anything could have been committed
        except Exception as error:
            # What the block raised, a balance that does not suffice for instance, aborts.
            if not refused:
                raise
            _log.info("transfer %s refused: %s", tx.id, error)
            return "aborted"
        return "committed"


class TwoPhaseCommit:
    """The same transfers by PREPARE TRANSACTION and COMMIT PREPARED, as the textbook has it.

    Nobody recovers what it leaves.

    Args:
        pools: One per bank.
    """

    def __init__(self, pools: dict[str, AsyncPool]) -> None:
        self._pools = pools
        self._prefix = f"two-phase-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)

    async def carry(self, transfer: Transfer, tell: Tell) -> None:
        """See `Carrier.carry`; passes the failpoint ``two-phase:prepared``."""
        txid = f"{self._prefix}-{next(self._numbers)}"
        tell("begun", txid)
        sessions: dict[str, AsyncSession] = {}
        try:
            for leg in transfer.legs:
                bank = leg.account.bank
                sessions[bank] = await self._pools[bank].acquire(_PATIENCE)
                await sessions[bank].begin(BeginOptions())
                await sessions[bank].execute(Sql(leg.sql(txid)))
            await _everywhere(sessions, f"prepare transaction '{txid}'")
            failpoints.hit("two-phase", "prepared")
            for session in sessions.values():
                await session.settle()
            await _everywhere(sessions, f"commit prepared '{txid}'")
        except DatabaseError:
            tell("aborted", txid)
        except Unanswered:
            tell("unknown", txid)
        else:
            tell("committed", txid)
        finally:
            for bank, session in sessions.items():
                await session.settle()
                await self._pools[bank].release(session)


async def _everywhere(sessions: dict[str, AsyncSession], statement: str) -> None:
    await asyncio.gather(*(session.execute(Sql(statement)) for session in sessions.values()))
