"""An operator who knows better: ROLLBACK PREPARED by hand on a branch that is decided."""

from __future__ import annotations

import contextlib
import signal

from paxcommit.async_recovery import AsyncRecovery
from paxcommit.ids import Gid, TxId
from paxcommit.protocol.values import Outcome
from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.testing.chaos.events import MANUAL_ROLLBACK, Deed
from paxcommit.testing.chaos.faults.fault import Kind, NotMade, Occurrence, Proof
from paxcommit.testing.chaos.processes import Worker

__all__ = ["KINDS"]

_STEP = "tell:committed"
_REACH_SECONDS = 2.0
_TRIES = 4
_BRANCHES = """
    select gid from pg_prepared_xacts
    where database = current_database() and strpos(gid, $1::text) > 0
"""


async def _roll_back(occurrence: Occurrence) -> Proof:
    stage = occurrence.stage
    async with AsyncRecovery.open(stage.settings, driver=stage.driver_name) as recovery:
        for _ in range(_TRIES):
            worker = await occurrence.working(occurrence.staff.coordinators)
            if not await worker.stops_at(_STEP, _REACH_SECONDS):
                continue
            dies = occurrence.random.random() < 0.5
            try:
                deed = await _do_it(occurrence, worker, recovery)
            finally:
                if dies and worker.running:
                    worker.kill()
                    await worker.over.wait()
                else:
                    worker.signal(signal.SIGCONT)
            if deed is not None:
                return {
                    "count": 1,
                    "known by": "the server's answer to ROLLBACK PREPARED, after outcome() had"
                    " said committed",
                    "txid": deed.txid,
                    "coordinator": "killed" if dies else "went on",
                }
    raise NotMade("no coordinator could be stopped between a decision and its application")


async def _do_it(occurrence: Occurrence, worker: Worker, recovery: AsyncRecovery) -> Deed | None:
    """Roll back one branch of a transaction that is decided but not applied.

    Only where another branch is prepared as well: it leads recovery to the one that is missing.
    Nobody would ever look for the last one.
    """
    stage = occurrence.stage
    places: dict[TxId, dict[str, Gid]] = {}
    for bank in stage.banks:
        with contextlib.suppress(DatabaseError, Unanswered):  # it is down
            for (text,) in await stage.rows(bank, _BRANCHES, f"-{worker.incarnation}-"):
                gid = Gid.parse(text)
                if gid is not None and gid.participant == bank:
                    places.setdefault(gid.txid, {})[bank] = gid
    for txid, gids in sorted(places.items()):
        if len(gids) < 2 or (await recovery.resolve(txid)).outcome is not Outcome.COMMITTED:
            continue
        bank = occurrence.random.choice(sorted(gids))
        with contextlib.suppress(DatabaseError, Unanswered):  # recovery was faster
            await stage.rows(bank, f"rollback prepared {gids[bank].quoted}")
            deed = Deed(0.0, str(txid), bank)
            occurrence.begin(f"branch {bank} of {txid}")
            occurrence.note(deed)
            return deed
    return None


KINDS = (
    Kind(
        MANUAL_ROLLBACK,
        "Somebody runs ROLLBACK PREPARED by hand on a branch that is decided: damage, to be"
        " reported.",
        "processes",
        _roll_back,
        own_servers=True,  # the damage stays written down for the person on call
    ),
)
"""What people do."""
