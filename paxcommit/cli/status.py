"""``paxcommit status``: what is prepared now, who waits for whom, and what is damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import ConfigOption, DriverOption, JsonOption
from paxcommit.cli.report import Report
from paxcommit.cli.running import Context, run
from paxcommit.inspection.branches import (
    Branch,
    Branches,
    Coordinator,
    read_branches,
    read_coordinators,
)
from paxcommit.inspection.facts import ServerFacts, read_facts
from paxcommit.inspection.records import read_all_records
from paxcommit.inspection.sites import Failure, Site, Sites, open_sites
from paxcommit.settings import Settings
from paxcommit.sql.link import Hello, hello
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import RecordedDamage, damages

__all__ = ["status"]


def status(
    config: ConfigOption = None, driver: DriverOption = None, as_json: JsonOption = False
) -> NoReturn:
    """Show acceptors, participants, branches in flight or in doubt, and damage; changes nothing."""

    async def command(context: Context) -> Report:
        async with open_sites(context.settings, context.driver) as sites:
            state = await _look(context.settings, sites)
        return Report(_code(state), _document(state), _text(state))

    run(command, config=config, driver=driver, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _State:
    settings: Settings
    greetings: Mapping[Site, Hello | Failure]
    branches: Branches
    coordinators: Mapping[int, Coordinator]
    facts: Mapping[Site, ServerFacts | Failure]
    damages: list[RecordedDamage]

    @property
    def usable(self) -> int:
        return sum(isinstance(g, Hello) and not g.lost_votes for g in self.greetings.values())

    def in_doubt(self, branch: Branch) -> bool:
        """Whether nobody is known to be about to finish the branch."""
        alive = self.coordinators[branch.txid.coordinator] is Coordinator.ALIVE
        return branch.late or not alive


async def _look(settings: Settings, sites: Sites) -> _State:
    records = await read_all_records(settings, sites)
    record = records.require_best()
    named, marks = records.authorities, Marks()
    greetings = await sites.each(named, lambda site: hello(named[site], marks))
    branches = await read_branches(sites, record.digest)
    coordinators = sorted({branch.txid.coordinator for branch in branches.ours})
    alive = await read_coordinators(settings, sites, records, coordinators)
    facts = await sites.each(sites.participants, lambda site: read_facts(site.role))
    written = await sites.each(sites.participants, lambda _: damages())
    found = [each for rows in written.values() if isinstance(rows, tuple) for each in rows]
    return _State(settings, greetings, branches, alive, facts, found)


def _code(state: _State) -> Exit:
    if state.damages:
        return Exit.DAMAGE
    if state.usable < state.settings.majority or state.branches.failures:
        return Exit.UNREACHABLE
    if any(state.in_doubt(branch) for branch in state.branches.ours):
        return Exit.UNDECIDED
    return Exit.OK


def _document(state: _State) -> dict[str, Any]:
    return {
        "acceptors": [
            {
                "name": site.name,
                "usable": isinstance(greeting, Hello) and not greeting.lost_votes,
                "problem": _acceptor_problem(greeting),
            }
            for site, greeting in state.greetings.items()
        ],
        "participants": [
            {
                "name": site.name,
                "reachable": isinstance(facts, ServerFacts),
                "problem": None if isinstance(facts, ServerFacts) else str(facts),
                "slots": facts.slots if isinstance(facts, ServerFacts) else None,
                "slots_used": facts.slots_used if isinstance(facts, ServerFacts) else None,
                "foreign": list(state.branches.foreign.get(site, ())),
            }
            for site, facts in state.facts.items()
        ],
        "branches": [
            {
                "txid": str(branch.txid),
                "participant": branch.participant,
                "gid": branch.gid,
                "age": round(branch.age, 3),
                "deadline": branch.deadline,
                "coordinator": state.coordinators[branch.txid.coordinator].value,
                "in_doubt": state.in_doubt(branch),
            }
            for branch in state.branches.ours
        ],
        "damage": [
            {
                "txid": str(each.txid),
                "participant": each.participant,
                "what": each.damage.what,
                "detail": each.damage.detail,
                "detected_at": each.detected_at,
            }
            for each in state.damages
        ],
    }


def _acceptor_problem(greeting: Hello | Failure) -> str | None:
    if isinstance(greeting, Hello):
        return "it has lost votes" if greeting.lost_votes else None
    return str(greeting)


def _text(state: _State) -> RenderableType:
    parts: list[RenderableType] = [_servers(state)]
    if state.branches.ours:
        parts += [Text("\nPrepared branches", "bold"), _branches(state)]
    else:
        parts.append(Text("\nNothing is prepared by this cluster."))
    for site, gids in state.branches.foreign.items():
        parts += [
            Text(f"Not ours, never touched, at {site.label}: {gid}", "yellow") for gid in gids
        ]
    for each in state.damages:
        parts.append(
            Text.assemble(
                ("DAMAGE ", "bold red"),
                f"{each.txid}, {each.participant}: {each.damage.detail} ({each.detected_at})",
            )
        )
    return Group(*parts)


def _servers(state: _State) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("", "where", "state"):
        table.add_column(column, overflow="fold")
    for site, greeting in state.greetings.items():
        problem = _acceptor_problem(greeting)
        table.add_row(_mark(problem is None), site.label, problem or "votes")
    for site, facts in state.facts.items():
        if isinstance(facts, ServerFacts):
            used = f"{facts.slots_used} of {facts.slots} prepared transactions used"
            table.add_row(_mark(True), site.label, used)
        else:
            table.add_row(_mark(False), site.label, str(facts))
    needed = f"{state.usable} can be used, {state.settings.majority} are needed"
    table.add_row(_mark(state.usable >= state.settings.majority), "acceptors", needed)
    return table


def _branches(state: _State) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("transaction", "participant", "age", "deadline", "coordinator", ""):
        table.add_column(column, overflow="fold")
    for branch in state.branches.ours:
        doubt = Text("in doubt", "red") if state.in_doubt(branch) else Text("in flight", "dim")
        table.add_row(
            str(branch.txid),
            branch.participant,
            f"{branch.age:.1f} s",
            f"{branch.deadline} s",
            state.coordinators[branch.txid.coordinator].value,
            doubt,
        )
    return table


def _mark(good: bool) -> Text:
    return Text("✓", "green") if good else Text("✗", "red")
