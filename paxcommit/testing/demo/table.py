"""The demo's result as a table that a person understands at a glance."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from paxcommit.testing.demo.kills import Moment
from paxcommit.testing.demo.result import Result

__all__ = ["tabulate"]

_HOW_TO_READ = (
    "How to read this: a coordinator that is killed in the middle of a commit leaves accounts "
    "locked. With paxcommit somebody else finished its transfers within moments, all or nothing; "
    "with plain two-phase commit the accounts stay locked until a human decides, branch by branch."
)


def tabulate(result: Result) -> RenderableType:
    """Make the table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("paxcommit", justify="right", style="bold")
    table.add_column("plain two-phase commit", justify="right")
    _kills(table, result)
    _transfers(table, result)
    return Group(table, Text(_HOW_TO_READ), Text(), _summary(result))


def _kills(table: Table, result: Result) -> None:
    plain = result.two_phase
    table.add_row("coordinators killed (SIGKILL)", str(len(result.kills)), "1")
    for moment in Moment:
        count = sum(kill.moment is moment for kill in result.kills)
        only = "1" if moment is Moment.UNDECIDED else ""
        table.add_row(f"  {moment.value}", str(count), only, style="dim")
    branches = sum(kill.in_doubt for kill in result.kills)
    table.add_row("branches they left in doubt", str(branches), str(plain.in_doubt))
    times = result.recovery_ms
    held = f"still held after {plain.waited_ms / 1000:.1f} s" if plain.blocked else "?"
    table.add_row("their locks were gone after, typically", f"{times['p50']:.0f} ms", "")
    table.add_row("their locks were gone after, at worst", f"{times['max']:.0f} ms", held)
    table.add_row("branches finished by hand", "0", str(plain.in_doubt))
    table.add_section()


def _transfers(table: Table, result: Result) -> None:
    reckoning, verdict = result.reckoning, result.verdict
    during = sum(outage.committed for outage in result.outages)
    table.add_row("transfers committed", f"{reckoning.committed:,}", "")
    table.add_row("  while an acceptor's server was down", f"{during:,}", "", style="dim")
    table.add_row("transfers aborted", f"{reckoning.aborted:,}", "")
    table.add_row("transfers half committed", f"{len(verdict.half_committed):,}", "")
    table.add_row("acknowledged, then lost", f"{reckoning.acknowledged_lost:,}", "")
    table.add_row("still prepared at the end", f"{len(verdict.prepared):,}", "")
    table.add_row("money in the banks, before", f"{result.money_before:,}", "")
    table.add_row("money in the banks, after", f"{verdict.money_after:,}", "")


def _summary(result: Result) -> Text:
    broken = result.broken_claims
    if not broken:
        return Text(f"✓ Everything held ({result.seconds:.0f} s).", "bold green")
    lines = [f"✗ {claim}" for claim in broken]
    return Text("\n".join([*lines, f"(seed {result.seed})"]), "bold red")
