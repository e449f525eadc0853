"""``paxcommit doctor``: examine every server, and say what to repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import ConfigOption, DriverOption, JsonOption
from paxcommit.cli.report import Report
from paxcommit.cli.running import Context, run
from paxcommit.doctor.checks import Check, Level
from paxcommit.doctor.examine import examine

__all__ = ["doctor"]

_MARKS = {
    Level.OK: ("✓", "green"),
    Level.WARNING: ("!", "yellow"),
    Level.PROBLEM: ("✗", "red"),
    Level.DAMAGE: ("✗✗", "bold red"),
}


def doctor(
    show_all: Annotated[
        bool, typer.Option("--all", "-a", help="Also show every check that found nothing.")
    ] = False,
    config: ConfigOption = None,
    driver: DriverOption = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Examine every server, by really preparing and rolling back; repairs nothing."""

    async def command(context: Context) -> Report:
        checks = await examine(context.settings, context.driver)
        return Report(_code(checks), _document(checks), _text(checks, show_all))

    run(command, config=config, driver=driver, as_json=as_json)


def _code(checks: Sequence[Check]) -> Exit:
    worst = max(check.level for check in checks)
    if worst is Level.DAMAGE:
        return Exit.DAMAGE
    bad = {check.name for check in checks if check.level is Level.PROBLEM}
    if {"reachable", "majority"} <= bad:
        return Exit.UNREACHABLE
    return Exit.PROBLEM if worst is Level.PROBLEM else Exit.OK


def _document(checks: Sequence[Check]) -> dict[str, object]:
    return {
        "worst": max(check.level for check in checks).name.lower(),
        "checks": [
            {
                "subject": check.subject,
                "name": check.name,
                "level": check.level.name.lower(),
                "found": check.found,
                "advice": check.advice,
            }
            for check in checks
        ],
    }


def _text(checks: Sequence[Check], show_all: bool) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for column in ("", "where", "check", "found, and what to do"):
        table.add_column(column, overflow="fold")
    for subject in sorted({check.subject for check in checks}):
        own = [check for check in checks if check.subject == subject]
        shown = own if show_all else [check for check in own if check.level is not Level.OK]
        fine = len(own) - len(shown)
        if fine:
            table.add_row(_mark(Level.OK), subject, _count(fine, "check"), Text("fine", "dim"))
        for check in shown:
            told = Text(check.found)
            if check.advice:
                told.append(f"\n{check.advice}", "italic")
            table.add_row(_mark(check.level), subject, check.name, told)
    bad = sum(check.level >= Level.PROBLEM for check in checks)
    warnings = sum(check.level is Level.WARNING for check in checks)
    counts = ((len(checks), "check"), (bad, "problem"), (warnings, "warning"))
    summary = ", ".join(_count(number, noun) for number, noun in counts)
    return Group(table, Text(summary, "bold red" if bad else "bold"))


def _mark(level: Level) -> Text:
    return Text(*_MARKS[level])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
