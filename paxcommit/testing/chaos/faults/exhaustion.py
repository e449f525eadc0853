"""Servers that have no slot left: for prepared transactions (trap 12), for connections (R27)."""

from __future__ import annotations

import asyncio
import time

import tenacity

from paxcommit.ports import AsyncSession
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered
from paxcommit.testing.chaos.faults.fault import Kind, Occurrence, Proof
from paxcommit.testing.chaos.faults.servers import choose_server, server_words, terminate_ours
from paxcommit.testing.chaos.stage import LABEL

__all__ = ["KINDS"]

_NO_SLOT = "53200"
_AGAIN = 0.05
_AT_ONCE = 8
_FILL_SECONDS = 10.0
_REFUSED = "sorry, too many clients already"


async def _prepared_slots(occurrence: Occurrence) -> Proof:
    """Prepare until the server refuses, take every slot that becomes free, and clean up."""
    stage = occurrence.stage
    server = choose_server(occurrence, with_bank=True)
    bank = next(bank for bank in stage.banks if stage.servers[bank] is server)
    prefix = f"chaos-slot-{occurrence.ident}-"
    occurrence.begin(f"max_prepared_transactions of {server_words(stage, server)}")
    number = refused = 0
    full = _Full(occurrence.seconds)
    try:
        async with stage.session(bank) as session:
            while not full.is_over:
                try:
                    # It writes nothing, so it costs no flush; a slot is a slot (trap 14).
                    await session.execute(Sql(f"begin; prepare transaction '{prefix}{number}'"))
                    number += 1
                except DatabaseError as error:
                    if error.sqlstate != _NO_SLOT:
                        raise
                    refused += 1
                    full.reached()
                    await session.execute(Sql("rollback"))
                    await asyncio.sleep(_AGAIN)
    finally:
        await _give_back(occurrence, bank, prefix)
    return {
        "count": refused,
        "known by": "SQLSTATE 53200 to our own PREPARE TRANSACTION",
        "slots taken": number,
    }


class _Full:
    """For how long something is to stay full, counted from when it is.

    Args:
        seconds: So long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._over = time.monotonic() + _FILL_SECONDS
        self._reached = False

    def reached(self) -> None:
        """It is full."""
        if not self._reached:
            self._reached, self._over = True, time.monotonic() + self._seconds

    @property
    def is_over(self) -> bool:
        """Whether that time, or our patience to get there, is over."""
        return time.monotonic() >= self._over


@tenacity.retry(
    retry=tenacity.retry_if_exception_type((DatabaseError, Unanswered)),
    stop=tenacity.stop_after_attempt(30),
    wait=tenacity.wait_fixed(0.5),
    reraise=True,
)
async def _give_back(occurrence: Occurrence, bank: str, prefix: str) -> None:
    async with occurrence.stage.session(bank) as session:
        rows = (
            await session.execute(
                Sql(
                    "select gid from pg_prepared_xacts where database = current_database()"
                    " and starts_with(gid, $1::text)",
                    (prefix,),
                )
            )
        ).rows
        for (gid,) in rows:
            await session.execute(Sql(f"rollback prepared '{gid}'"))


async def _connections(occurrence: Occurrence) -> Proof:
    """Take every connection slot, cut some of ours, and take theirs as well."""
    stage = occurrence.stage
    server = choose_server(occurrence)
    site = next(site for site, each in sorted(stage.servers.items()) if each is server)
    before = server.log().count(_REFUSED)
    occurrence.begin(f"max_connections of {server_words(stage, server)}")
    taken: list[AsyncSession] = []
    cut = 0
    full = _Full(occurrence.seconds)
    try:
        while not full.is_over:
            attempts = [stage.connect(site, f"{LABEL}-crowd") for _ in range(_AT_ONCE)]
            answers = await asyncio.gather(*attempts, return_exceptions=True)
            taken += [each for each in answers if not isinstance(each, BaseException)]
            if any(isinstance(each, Exception) for each in answers):
                full.reached()
                if not cut:
                    taken.pop().discard()  # somebody has to be let in to do this
                    cut = await _cut_some(occurrence, site)
                await asyncio.sleep(_AGAIN)
    finally:
        for session in taken:
            session.discard()
    return {
        "count": server.log().count(_REFUSED) - before,
        "known by": "the server's log: too many clients already",
        "connections taken": len(taken),
        "of ours cut meanwhile": cut,
    }


async def _cut_some(occurrence: Occurrence, site: str) -> int:
    try:
        return await terminate_ours(occurrence.stage, site, share=0.3)
    except (DatabaseError, Unanswered):
        return 0  # somebody else was faster


KINDS = (
    Kind(
        "exhaust-slots",
        "Somebody else's prepared transactions fill max_prepared_transactions.",
        "servers",
        _prepared_slots,
        own_servers=True,
    ),
    Kind(
        "exhaust-connections",
        "Somebody else's connections fill max_connections.",
        "servers",
        _connections,
        own_servers=True,
    ),
)
"""Slots."""
