"""``paxcommit demo``: servers, banks, kills and recovery on this machine."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer
from rich.console import Console

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import DriverOption, JsonOption
from paxcommit.cli.report import Report
from paxcommit.cli.running import run_plain
from paxcommit.testing.demo import Screen, play, tabulate

__all__ = ["demo"]


def demo(
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=1.0, max=3600.0, help="How long coordinators are killed, about."
        ),
    ] = 30.0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Choose the same transfers and kills again.", min=0),
    ] = None,
    driver: DriverOption = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Show it: money moves between two banks while coordinators are killed, again and again.

    Starts three PostgreSQL servers of its own and leaves nothing behind.  Everything is judged by
    reading the banks' databases.  Afterwards the same under plain two-phase commit, for
    comparison.  Exit code 0 only if every claim holds.
    """

    def command() -> Report:
        with Screen() as screen:
            result = play(screen, seconds=seconds, seed=seed, driver=driver)
        text = tabulate(result)
        if as_json:
            Console(stderr=True).print(text)
        code = Exit.PROBLEM if result.broken_claims else Exit.OK
        return Report(code, result.document, text)

    run_plain(command, as_json=as_json)
