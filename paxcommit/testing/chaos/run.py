"""A whole run, from the servers to the last line but one of its history."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from paxcommit.errors import ConfigurationError
from paxcommit.runtime.aio.run import run_statements
from paxcommit.settings import Settings
from paxcommit.sql.epoch import read_records
from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.closing import ask_about, read_banks, read_damages, until_settled
from paxcommit.testing.chaos.decoys import place_decoys
from paxcommit.testing.chaos.events import (
    RESTORED_ACCEPTOR,
    VERSION,
    Answered,
    Begun,
    DamageReported,
    Event,
    Run,
)
from paxcommit.testing.chaos.faults import KINDS, Kind
from paxcommit.testing.chaos.lanes import run_lanes
from paxcommit.testing.chaos.monitor import Monitor, watch
from paxcommit.testing.chaos.plan import Plan
from paxcommit.testing.chaos.processes import Staff
from paxcommit.testing.chaos.recoveries import follow_logs, logged_damages
from paxcommit.testing.chaos.stage import Stage, own_settings, raise_stage
from paxcommit.testing.server import Server

__all__ = ["run"]

_WARM_UP = 0.5


def run(
    plan: Plan,
    write: Callable[[Event], None],
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Make a run; blocks, and leaves no process, server or file behind, however it ends.

    Args:
        plan: What it is to be.
        write: Takes the history's events, in order; all but the last, which counts them.
        tell: Takes lines for people.

    Raises:
        ConfigurationError: A driver or PostgreSQL is missing, a kind of fault is not known, …
        ClusterError: A server or a process did not start.
    """
    kinds = _choose(plan)
    # What our own links log is no news amid all this; processes have logs of their own.
    logging.getLogger("paxcommit").addHandler(logging.NullHandler())
    tell("Starting three PostgreSQL servers" if plan.config is None else "Connecting")
    with own_settings(plan) as (settings, servers, folder):
        asyncio.run(_Run(plan, kinds, write, tell).play(settings, servers, folder))


def _choose(plan: Plan) -> list[Kind]:
    unknown = sorted((plan.kinds or frozenset()) - set(KINDS))
    if unknown:
        raise ConfigurationError(
            f"there is no kind of fault {', '.join(unknown)}; there are {', '.join(sorted(KINDS))}"
        )
    chosen = [kind for name, kind in KINDS.items() if plan.kinds is None or name in plan.kinds]
    if plan.config is not None:
        own = sorted(kind.name for kind in chosen if kind.own_servers)
        if plan.kinds is not None and own:
            raise ConfigurationError(
                f"{', '.join(own)}: not with --config, for the servers are not ours to break"
            )
        chosen = [kind for kind in chosen if not kind.own_servers]
    return chosen


class _Run:
    def __init__(
        self,
        plan: Plan,
        kinds: list[Kind],
        write: Callable[[Event], None],
        tell: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._kinds = kinds
        self._books = _Books(write)
        self._tell = tell

    async def play(self, settings: Settings, servers: Mapping[str, Server], folder: Path) -> None:
        async with raise_stage(self._plan, settings, servers, folder) as stage:
            prefix = await _prefix(stage)
            if any(kind.name == RESTORED_ACCEPTOR for kind in self._kinds):
                await stage.keep_copy()
            known = {_key(damage) for damage in await read_damages(stage)}
            before = {bank: await _transfers(stage, bank) for bank in stage.banks}
            opening = {bank: await _balances(stage, bank) for bank in stage.banks}
            chronicle = Chronicle(self._books.write, self._tell)
            chronicle.note(self._first_line(stage, opening))
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(place_decoys(stage, chronicle))
                monitor = await stack.enter_async_context(watch(stage, chronicle, prefix))
                await stack.enter_async_context(follow_logs(folder, chronicle))
                await self._work(stage, chronicle, monitor)
                told = [each for each in await read_damages(stage) if _key(each) not in known]
                written = {(each.txid, each.participant) for each in told}
                for txid, bank in sorted(logged_damages(folder) - written):
                    told.append(DamageReported(0.0, txid, bank, "in a log only"))
                for damage in told:
                    chronicle.note(damage)
                await read_banks(stage, chronicle, prefix, before)

    def _first_line(self, stage: Stage, opening: Mapping[str, Mapping[int, int]]) -> Run:
        plan = self._plan
        package = type(stage.driver).__module__.partition(".")[0]
        driver = plan.driver or package.removeprefix("paxcommit_")
        return Run(
            0.0,
            VERSION,
            plan.seed,
            plan.seconds,
            "embedded" if plan.config is None else "config",
            driver,
            stage.settings.cluster,
            opening,
            tuple(sorted(kind.name for kind in self._kinds)),
            thorough=plan.kinds is None and plan.config is None,
        )

    async def _work(self, stage: Stage, chronicle: Chronicle, monitor: Monitor) -> None:
        plan = self._plan
        async with Staff.employ(stage, chronicle, plan.seed) as staff:
            await staff.opened()
            await asyncio.sleep(_WARM_UP)
            self._tell("Coordinators move money, and things break")
            await run_lanes(
                self._kinds, stage, staff, chronicle, seconds=plan.seconds, seed=plan.seed
            )
            self._tell("Everything heals: every coordinator has to commit at every bank again")
            await staff.all_commit_again()
            self._tell("Clients end, recovery finishes")
            await staff.end(staff.coordinators)
            settled = await until_settled(monitor)
            self._tell("Nothing is in doubt" if settled else "Branches are left in doubt")
            unanswered = self._books.unanswered
            self._tell(f"Asking about {len(unanswered)} transactions without an answer")
            await ask_about(stage, chronicle, unanswered)
            await staff.end(staff.recoverers)


def _key(damage: DamageReported) -> tuple[str, str, str]:
    return damage.txid, damage.participant, damage.what


class _Books:
    """Lets events pass, and keeps what has to be asked about in the end."""

    def __init__(self, write: Callable[[Event], None]) -> None:
        self._write = write
        self._open: dict[str, None] = {}

    def write(self, event: Event) -> None:
        if isinstance(event, Begun):
            self._open[event.txid] = None
        elif isinstance(event, Answered) and event.answer != "unknown":
            self._open.pop(event.txid, None)
        self._write(event)

    @property
    def unanswered(self) -> list[str]:
        """Transactions of which no client knows the end, in the order in which they began."""
        return list(self._open)


async def _prefix(stage: Stage) -> str:
    async with stage.session(stage.acceptors[0]) as session:
        records = await run_statements(session, read_records())
    if not records:
        raise ConfigurationError("the cluster is not initialised: run `paxcommit init` first")
    return f"paxcommit:{records[-1].digest}:"


async def _balances(stage: Stage, bank: str) -> dict[int, int]:
    rows = await stage.rows(bank, "select id, balance from bank.account")
    return {int(number): int(balance) for number, balance in rows}


async def _transfers(stage: Stage, bank: str) -> frozenset[str]:
    return frozenset(txid for (txid,) in await stage.rows(bank, "select txid from bank.transfer"))
