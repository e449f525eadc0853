"""``python -m paxcommit.testing.bench.doubt_main``: a coordinator that is going to be killed.

It takes a `Job` and a `Doubt`, and stops where a coordinator that dies half way stops: branches
prepared everywhere, its lock held at every acceptor, votes cast for half of the transactions.
Through the coordinator's own surface a thousand of them would take a thousand connections.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.drivers import choose_async
from paxcommit.errors import require
from paxcommit.ids import Ballot, Gid, TxId
from paxcommit.ports import AsyncSession
from paxcommit.protocol.messages import Phase2a, Phase2b
from paxcommit.protocol.resource_manager import Prepared
from paxcommit.protocol.values import REGISTRAR, Instance, ParticipantSet, Value, Vote
from paxcommit.runtime.aio.run import run_statements
from paxcommit.runtime.plan import Ask
from paxcommit.sql.branch import open_branch, prepare_branch
from paxcommit.sql.statement import Sql
from paxcommit.testing.bench.job import Doubt, Doubted, Job, Message, Opened, decode, encode
from paxcommit.testing.bench.work import TABLE

__all__: list[str] = []

_DEADLINE = 600
_TIMEOUT = 30.0


async def _main() -> None:
    job = decode(sys.stdin.readline())
    if not isinstance(job, Job):
        raise SystemExit("the first line names the job")
    async with AsyncCoordinator.open(job.settings, driver=job.driver) as coordinator:
        _tell(Opened("asyncio"))
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = decode(line)
            if not isinstance(order, Doubt):
                raise SystemExit(f"no order: {order}")
            await _doubt(coordinator, job, order)
            _tell(Doubted())


async def _doubt(coordinator: AsyncCoordinator, job: Job, order: Doubt) -> None:
    txids = [coordinator.transaction().id for _ in range(order.transactions)]
    rows = list(enumerate(txids, order.first_row))
    names = sorted(job.settings["participants"])
    await asyncio.gather(
        *(
            _prepare_some(coordinator, job, name, rows[first :: order.connections])
            for name in names
            for first in range(order.connections)
        )
    )
    values: dict[Instance, Value] = {
        REGISTRAR: ParticipantSet.of(names),
        **dict.fromkeys(names, Vote.PREPARED),
    }
    answers = await asyncio.gather(
        *(
            coordinator.network.perform(Ask(acceptor, Phase2a(txid, Ballot(0), values)))
            for txid in txids[::2]
            for acceptor in coordinator.members.acceptors
        )
    )
    require(all(isinstance(each, Phase2b) for each in answers), "a vote was not accepted")


async def _prepare_some(
    coordinator: AsyncCoordinator, job: Job, name: str, some: Sequence[tuple[int, TxId]]
) -> None:
    dsn = job.settings["participants"][name]
    session = await choose_async(job.driver).connect(dsn, timeout=_TIMEOUT)
    try:
        for row, txid in some:
            await _prepare(
                session, Gid(coordinator.members.record.digest, txid, name, _DEADLINE), row
            )
    finally:
        session.discard()


async def _prepare(session: AsyncSession, gid: Gid, row: int) -> None:
    await session.execute(Sql("BEGIN"))
    await run_statements(session, open_branch(gid.txid))
    await session.execute(Sql(f"UPDATE {TABLE} SET value = value + 1 WHERE id = {row:d}"))
    answer = await run_statements(session, prepare_branch(gid))
    require(isinstance(answer, Prepared), f"{gid} is not prepared: {answer}")


def _tell(message: Message) -> None:
    sys.stdout.write(encode(message))
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main())
