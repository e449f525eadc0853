"""``paxcommit demo``: servers, banks, kills and recovery on this machine."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer
from rich.console import Console

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import DriverOption, JsonOption
from paxcommit.cli.report import Report
from paxcommit.cli.running import run_plain

__all__ = ["demo"]


def demo(
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=1.0,
            max=3600.0,
            help="For how long coordinators are killed; the whole takes some twenty more.",
        ),
    ] = 30.0,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            help="Choose the transfers and the kills of an earlier run; the timing is never that.",
            show_default=False,
        ),
    ] = None,
    driver: DriverOption = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Move money between two banks while coordinators are killed, and read the banks' books.

    Starts three PostgreSQL servers of its own on this machine and leaves nothing behind.  Then
    shows the same under plain two-phase commit, for comparison.  Exits with 0 only if every claim
    holds.
    """
    # Not at the top: no other command needs test servers.
    from paxcommit.testing import demo as the

    def command() -> Report:
        with the.Screen() as screen:
            result = the.play(screen, seconds=seconds, seed=seed, driver=driver)
        text = the.tabulate(result)
        if as_json:  # standard output belongs to the document
            Console(stderr=True).print(text)
        code = Exit.PROBLEM if result.broken_claims else Exit.OK
        return Report(code, result.document, text)

    run_plain(command, as_json=as_json)
