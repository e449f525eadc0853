"""An acceptor whose server is restored from an old copy has lost votes, and must refuse (R13)."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from pathlib import Path

from paxcommit.errors import ClusterError
from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.messages import LostVotes, Phase1a
from paxcommit.runtime.aio.run import run_statements
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.epoch import read_records
from paxcommit.sql.link import hello
from paxcommit.sql.marks import Marks
from paxcommit.testing.chaos.events import RESTORED_ACCEPTOR, AcceptorRefused, AcceptorVoted
from paxcommit.testing.chaos.faults.fault import Kind, NotMade, Occurrence, Proof
from paxcommit.testing.chaos.faults.servers import kept_running
from paxcommit.testing.chaos.rules import Cut
from paxcommit.testing.chaos.stage import WITNESS, Stage
from paxcommit.testing.local import LocalServer

__all__ = ["KINDS"]

_SLOW_COPY = 2.0
"""Seconds from which on a newer old copy is not worth the time without the acceptor."""

_VOTES = "select count(*)::int, coalesce(max(mark), 0)::bigint from paxcommit.transaction"


async def _restore(occurrence: Occurrence) -> Proof:
    """Put an old copy in place, see it refuse, and put the newer state back.

    The newer state is that in which the server stopped, to the byte, so nothing is lost for good.
    """
    stage = occurrence.stage
    server = stage.servers[WITNESS]
    if stage.old_copy is None or not isinstance(server, LocalServer):
        raise NotMade(f"there is no old copy of {server.name}")
    old, newer = stage.old_copy, stage.old_copy.with_name(f"{server.name}.newer")
    cut = Cut(late=False)
    routes = stage.proxy.find(sites=[WITNESS])
    # Nobody may reach it before it is known what it remembers.
    stage.proxy.apply(cut, routes)
    try:
        async with kept_running(server):
            await asyncio.to_thread(_swap, server, old, newer)
            try:
                remembered = await stage.rows(WITNESS, _VOTES)
                occurrence.begin(WITNESS)
                stage.proxy.lift(cut)
                await occurrence.hold()
                refusals = await _refuses(occurrence)
                voted = await stage.rows(WITNESS, _VOTES)
                if voted != remembered:
                    occurrence.note(
                        AcceptorVoted(0.0, WITNESS, f"rows, marks: {remembered[0]}, {voted[0]}")
                    )
            finally:
                stage.proxy.apply(cut, routes)
                if stage.copying_took < _SLOW_COPY:
                    stage.old_copy = await asyncio.to_thread(_put_back, server, newer)
                else:
                    await asyncio.to_thread(_swap, server, newer, old)
    finally:
        stage.proxy.lift(cut)
    return {
        "count": refusals,
        "known by": "its answer to phase 1a: lost votes",
        "votes remembered": remembered[0][0],
        "votes given meanwhile": voted[0][0] - remembered[0][0],
    }


def _swap(server: LocalServer, copy: Path, aside: Path) -> None:
    """Restart the server from a copy, and put aside the state in which it stopped."""
    if server.is_running:
        server.stop("immediate")
    server.data_dir.rename(aside)
    copy.rename(server.data_dir)
    server.start()


def _put_back(server: LocalServer, newer: Path) -> Path:
    """Go on from the newer state; a copy of it is what the next such fault restores."""
    if server.is_running:
        server.stop("immediate")
    shutil.rmtree(server.data_dir)
    newer.rename(server.data_dir)
    copy = server.copy_data_dir()
    server.start()
    return copy


async def _refuses(occurrence: Occurrence) -> int:
    """Ask it to vote as a process would that has talked to the others before."""
    stage = occurrence.stage
    marks = Marks()
    for name in stage.acceptors:
        if name == WITNESS:
            continue
        async with stage.session(name) as session:
            await run_statements(session, hello(await _authority(stage, name), marks))
    txid = TxId(1, secrets.randbits(63), 1)
    try:
        async with stage.session(WITNESS) as session:
            authority = await _authority(stage, WITNESS)
            (answer,) = await run_statements(
                session, ask(authority, marks, [Phase1a(txid, Ballot(1))])
            )
    except ClusterError as error:
        occurrence.note(AcceptorRefused(0.0, WITNESS, str(error)))
        return 1
    if isinstance(answer, LostVotes):
        occurrence.note(AcceptorRefused(0.0, WITNESS, "it says that it has lost votes"))
        return 1
    occurrence.note(AcceptorVoted(0.0, WITNESS, f"it answered {answer} to phase 1a"))
    return 0


async def _authority(stage: Stage, name: str) -> Authority:
    async with stage.session(name) as session:
        record = (await run_statements(session, read_records()))[-1]
    (identity,) = (each.identity for each in record.acceptors if each.name == name)
    return Authority(name, identity, record.epoch, record.digest)


KINDS = (
    Kind(
        RESTORED_ACCEPTOR,
        "An acceptor's server runs from an old copy: it has lost votes, and must refuse to vote.",
        "servers",
        _restore,
        own_servers=True,
    ),
)
"""Backups that are put back."""
