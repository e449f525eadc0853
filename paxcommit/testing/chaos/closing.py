"""The end of a run: everything heals, recovery finishes, and the truth is read off the servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

import tenacity

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.errors import ClusterError
from paxcommit.protocol.values import Outcome
from paxcommit.runtime.aio.run import run_statements
from paxcommit.sql.participant import damages
from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.events import Asked, Booked, DamageReported, FinalBank
from paxcommit.testing.chaos.monitor import Monitor
from paxcommit.testing.chaos.stage import Stage

__all__ = ["ask_about", "read_banks", "read_damages", "until_settled"]

_SETTLE_SECONDS = 60.0
_LOOK_EVERY = 0.1
_ASK_TIMES = 20
_ASKS_AT_ONCE = 8
_BY = "judge"

_LOCKS = """
    select count(*)::int from pg_locks l join pg_database d on d.oid = l.database
    where d.datname = current_database() and l.pid is null and l.virtualtransaction not in (
        select '-1/' || p.transaction::text from pg_prepared_xacts p
        where not starts_with(p.gid, $1::text)
    )
"""


async def until_settled(monitor: Monitor) -> bool:
    """Wait until nothing is in doubt and every bank answers; tell whether that came in time."""
    give_up = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < give_up:
        count, _, silent = await monitor.look()
        if count == silent == 0:
            return True
        await asyncio.sleep(_LOOK_EVERY)
    return False


async def ask_about(stage: Stage, chronicle: Chronicle, txids: Iterable[str]) -> None:
    """Ask what became of transactions, and have those decided that are still open (R23)."""
    slots = asyncio.Semaphore(_ASKS_AT_ONCE)

    async def ask(txid: str) -> None:
        async with slots:
            for attempt in range(_ASK_TIMES):
                await asyncio.sleep(_LOOK_EVERY * attempt)
                forced = attempt > 0
                try:
                    outcome = await coordinator.outcome(txid, force=forced)
                except ClusterError as error:
                    chronicle.tell(f"{txid} cannot be asked about: {error}")
                    continue
                chronicle.note(Asked(0.0, txid, outcome.value, _BY, forced=forced))
                if outcome is not Outcome.OPEN:
                    break

    try:
        coordinator = await _open(stage)
    except ClusterError as error:  # what cannot be asked about stays open, which is a verdict
        chronicle.tell(f"Nobody can be asked: {error}")
        return
    try:
        await asyncio.gather(*map(ask, txids))
    finally:
        await coordinator.close()


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(ClusterError),
    stop=tenacity.stop_after_attempt(20),
    wait=tenacity.wait_fixed(0.5),
    reraise=True,
)
async def _open(stage: Stage) -> AsyncCoordinator:
    return await AsyncCoordinator.open(stage.settings, driver=stage.driver_name)


@tenacity.retry(
    retry=tenacity.retry_if_exception_type((DatabaseError, Unanswered, ClusterError)),
    stop=tenacity.stop_after_attempt(20),
    wait=tenacity.wait_fixed(0.5),
    reraise=True,
)
async def read_damages(stage: Stage) -> list[DamageReported]:
    """Read what paxcommit wrote down as damage."""
    found = []
    for bank in stage.banks:
        async with stage.session(bank) as session:
            found += [
                DamageReported(0.0, str(each.txid), each.participant, each.damage.what)
                for each in await run_statements(session, damages())
            ]
    return found


@tenacity.retry(
    retry=tenacity.retry_if_exception_type((DatabaseError, Unanswered)),
    stop=tenacity.stop_after_attempt(20),
    wait=tenacity.wait_fixed(0.5),
    reraise=True,
)
async def read_bank(stage: Stage, bank: str, prefix: str, before: frozenset[str]) -> FinalBank:
    """Read everything that a bank holds, but the transfers of earlier runs.

    Args:
        stage: Where.
        bank: Which.
        prefix: What this cluster's gids begin with.
        before: The transactions that were there before the run.
    """
    accounts = await stage.rows(bank, "select id, balance from bank.account")
    transfers = await stage.rows(
        bank, "select txid, account, counterpart, amount from bank.transfer order by txid, account"
    )
    prepared = await stage.rows(
        bank, "select gid from pg_prepared_xacts where database = current_database() order by gid"
    )
    locks = await stage.rows(bank, _LOCKS, prefix)
    return FinalBank(
        0.0,
        bank,
        {int(number): int(balance) for number, balance in accounts},
        tuple(
            Booked(txid, int(account), counterpart, int(amount))
            for txid, account, counterpart, amount in transfers
            if txid not in before
        ),
        tuple(gid for (gid,) in prepared),
        int(locks[0][0]),
    )


async def read_banks(
    stage: Stage, chronicle: Chronicle, prefix: str, before: Mapping[str, frozenset[str]]
) -> None:
    """Write down what every bank holds."""
    for bank in stage.banks:
        chronicle.note(await read_bank(stage, bank, prefix, before[bank]))
