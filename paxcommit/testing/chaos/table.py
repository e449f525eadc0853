"""The verdict as a table that a person understands at a glance."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from paxcommit.testing.chaos.verdict import MEANINGS, Verdict

__all__ = ["tabulate"]

_SHOWN = 10


def tabulate(verdict: Verdict, places: dict[str, str]) -> RenderableType:
    """Make the table.

    Args:
        verdict: The judge's.
        places: Per kind of file where it is.
    """
    files = Table(box=None, pad_edge=False, show_header=False)
    for what, place in places.items():
        files.add_row(f"{what}:", place)
    return Group(_figures(verdict), _faults(verdict), files, Text(), _summary(verdict))


def _figures(verdict: Verdict) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("paxcommit chaos", justify="right", style="bold")
    table.add_row("transactions begun", f"{verdict.begun:,}")
    table.add_row("  told committed", f"{verdict.committed:,}", style="dim")
    table.add_row("  told aborted", f"{verdict.aborted:,}", style="dim")
    table.add_row(
        "  told unknown, or died", f"{verdict.unknown + verdict.unanswered:,}", style="dim"
    )
    table.add_row("    of these resolved by asking", f"{verdict.unknown_resolved:,}", style="dim")
    table.add_row("finished by a recoverer", f"{verdict.recoveries:,}")
    table.add_row("commit, typically (p50)", f"{verdict.latency.p50:,.0f} ms")
    table.add_row("commit, slowly (p99)", f"{verdict.latency.p99:,.0f} ms")
    table.add_row("longest doubt seen", f"{verdict.in_doubt_age_max:,.1f} s")
    table.add_section()
    table.add_row("half committed", f"{verdict.half_committed:,}")
    table.add_row("still prepared at the end", f"{verdict.prepared_left:,}")
    table.add_row("locks left at the end", f"{verdict.locks_left:,}")
    table.add_row("rolled back by hand", f"{verdict.deeds:,}")
    table.add_row("  damage reported", f"{verdict.damage_reported:,}", style="dim")
    return table


def _faults(verdict: Verdict) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("fault")
    table.add_column("fired", justify="right", style="bold")
    table.add_column("")
    for kind, count in verdict.faults.items():
        table.add_row(kind, f"{count:,}", "")
    for kind, reason in verdict.skipped.items():
        table.add_row(kind, "0", f"skipped: {reason}", style="dim")
    return table


def _summary(verdict: Verdict) -> Text:
    if verdict.ok:
        return Text(f"✓ Everything held ({verdict.duration:.0f} s).", "bold green")
    counts = Counter(each.name for each in verdict.violations)
    lines = [f"✗ {name} ({count}): {MEANINGS[name]}" for name, count in counts.items()]
    for each in verdict.violations[:_SHOWN]:
        who = f"{each.txid}: " if each.txid else ""
        where = ", ".join(map(str, each.lines[:6]))
        lines.append(f"    {each.name}: {who}{each.detail} (lines {where})")
    if len(verdict.violations) > _SHOWN:
        lines.append(f"    … and {len(verdict.violations) - _SHOWN:,} more")
    return Text("\n".join([*lines, f"(seed {verdict.run.seed})"]), "bold red")
