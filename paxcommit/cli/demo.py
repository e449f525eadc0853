"""``paxcommit demo``: coordinators are killed in the middle of commits, on servers of its own."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import DriverOption, JsonOption
from paxcommit.cli.report import Report
from paxcommit.cli.running import run_plain

__all__ = ["demo"]


def demo(
    seconds: Annotated[
        float,
        typer.Option("--seconds", min=1.0, help="How long coordinators are killed."),
    ] = 30.0,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", help="Chooses transfers and kills; drawn if not given.", show_default=False
        ),
    ] = None,
    driver: DriverOption = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Move money between two banks while coordinators are killed; needs no configuration.

    Starts three PostgreSQL servers of its own, and leaves nothing behind.
    """

    def command() -> Report:
        # Here, for servers and workload come with the extra `testing`, and not for every command.
        from paxcommit.testing.demo import Screen, play, tabulate

        with Screen() as screen:
            result = play(screen, seconds=seconds, seed=seed, driver=driver)
        code = Exit.PROBLEM if result.broken_claims else Exit.OK
        return Report(code, result.document, tabulate(result))

    run_plain(command, as_json=as_json)
