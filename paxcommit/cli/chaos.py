"""``paxcommit chaos``: a bank workload under faults, and a judge who reads its history."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import DriverOption, JsonOption
from paxcommit.cli.report import Report
from paxcommit.cli.running import run_plain
from paxcommit.errors import ConfigurationError

if TYPE_CHECKING:
    from paxcommit.testing.chaos.plan import Plan

__all__ = ["chaos"]


def chaos(
    *,
    # No environment variable: nobody is to break a cluster that some variable happens to name.
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Your own cluster instead of servers of this command's own; never one in use.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=1.0,
            max=86_400.0,
            help="For how long clients work under faults; longer if a fault's turn did not come.",
        ),
    ] = 60.0,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            help="Choose the transactions and the faults of an earlier run; never its timing.",
            show_default=False,
        ),
    ] = None,
    driver: DriverOption = None,
    faults: Annotated[
        str | None,
        typer.Option(
            "--faults",
            metavar="KIND,KIND",
            help="Only these kinds; all that can be made there if not given.",
            show_default=False,
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            "--history",
            metavar="FILE",
            help="Where the history goes; ./paxcommit-chaos-SEED.jsonl if not given.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Where the page goes; ./paxcommit-chaos-SEED.html if not given.",
            show_default=False,
        ),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(
            "--judge",
            metavar="FILE",
            help="Run nothing: judge this history again, and make its page if --html is given.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Move money between banks while everything breaks, then judge the history of it.

    Starts three PostgreSQL servers of its own unless --config is given, kills, stops, cuts off and
    fills up what there is, and leaves nothing behind but the history and a page for people.  Exits
    with 0 only if nothing is violated and enough was done to say so.
    """

    def command() -> Report:
        if judged is not None:
            for name, value in {
                "--config": config,
                "--seed": seed,
                "--faults": faults,
                "--history": history,
            }.items():
                if value is not None:
                    raise ConfigurationError(f"--judge runs nothing, so {name} says nothing")
            return _judge(judged, html, as_json)
        return _run(_plan(config, seconds, seed, driver, faults), history, html, as_json)

    run_plain(command, as_json=as_json)


def _plan(
    config: Path | None, seconds: float, seed: int | None, driver: str | None, faults: str | None
) -> Plan:
    # Not at the top: no other command needs test servers.
    from paxcommit.testing.chaos.plan import Plan

    kinds = None if faults is None else frozenset(filter(None, map(str.strip, faults.split(","))))
    if kinds is not None and not kinds:
        raise ConfigurationError("--faults names no kind of fault")
    chosen = secrets.randbits(32) if seed is None else seed
    return Plan(seconds=seconds, seed=chosen, config=config, driver=driver, kinds=kinds)


def _run(plan: Plan, history: Path | None, html: Path | None, as_json: bool) -> Report:
    from paxcommit.testing.chaos.history import Recorder
    from paxcommit.testing.chaos.page import check_page_tools
    from paxcommit.testing.chaos.run import run
    from paxcommit.testing.chaos.screen import Onlooker
    from paxcommit.testing.demo.screen import Screen

    check_page_tools()
    history = history or Path(f"paxcommit-chaos-{plan.seed}.jsonl")
    with Screen() as screen:
        screen.line(f"seed {plan.seed}, history in {history}")
        with Recorder(history) as recorder:
            onlooker = Onlooker(screen, recorder.write, plan.seconds)
            run(plan, onlooker.write, onlooker.tell)
    return _judge(history, html or Path(f"paxcommit-chaos-{plan.seed}.html"), as_json)


def _judge(source: Path, html: Path | None, as_json: bool) -> Report:
    """Judge a history that is there; a run that has just ended is judged in the same way."""
    from paxcommit.testing.chaos.history import read_history
    from paxcommit.testing.chaos.judging import judge
    from paxcommit.testing.chaos.table import tabulate

    history = read_history(source)
    verdict = judge(history)
    places = {"history": str(source)}
    if html is not None:
        from paxcommit.testing.chaos.faults import SENTENCES
        from paxcommit.testing.chaos.page import write_page

        write_page(html, source, history, verdict, SENTENCES)
        places["page"] = str(html)
    text = tabulate(verdict, places)
    if as_json:  # standard output belongs to the document
        Console(stderr=True).print(text)
    code = Exit.OK if verdict.ok else Exit.PROBLEM
    return Report(code, {**verdict.document, **places}, text)
