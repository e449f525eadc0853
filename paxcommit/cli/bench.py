"""``paxcommit bench``: what atomicity costs, beside the bare driver and the usual alternatives."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.pretty import Pretty
from rich.text import Text

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import JsonOption
from paxcommit.cli.report import Report
from paxcommit.cli.running import run_plain
from paxcommit.errors import ConfigurationError, InvariantViolation

if TYPE_CHECKING:
    from paxcommit.testing.bench.measuring import Schedule
    from paxcommit.testing.bench.run import Plan

__all__ = ["Scenario", "bench"]


class Scenario(StrEnum):
    """What may be measured in place of the systems."""

    ACCEPTOR_DEAD = "acceptor-dead"
    ACCEPTOR_SLOW = "acceptor-slow"
    RECOVERY_64 = "recovery-64"
    RECOVERY_1000 = "recovery-1000"
    GROWTH = "growth"


_REPETITIONS = {
    None: 5,
    Scenario.ACCEPTOR_DEAD: 5,
    Scenario.ACCEPTOR_SLOW: 5,
    Scenario.RECOVERY_64: 10,
    Scenario.RECOVERY_1000: 10,
    Scenario.GROWTH: 3,
}


def bench(
    *,
    # No environment variable: nobody is to load a cluster that some variable happens to name.
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Your own servers, initialised, instead of servers of this command's own.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=600.0, help="Of one measurement.")
    ] = 2.0,
    repetitions: Annotated[
        int | None,
        typer.Option(
            "--repetitions",
            min=1,
            max=1000,
            help="Of every measurement, 5 if not given; of every kill, 10.",
            show_default=False,
        ),
    ] = None,
    systems: Annotated[
        str | None,
        typer.Option(
            "--systems",
            metavar="NAME,…",
            help="All but the floors if not given. A floor sends what the protocol demands, from a "
            "client that does nothing else: floor, floor-decided, floor-led, floor-led-decided, "
            "floor-rows, floor-rows-decided, floor-votes, floor-branches (docs/performance.md).",
            show_default=False,
        ),
    ] = None,
    drivers: Annotated[
        str | None,
        typer.Option(
            "--drivers",
            metavar="NAME,…",
            help="asyncpg if not given; also psycopg and psycopg-sync.",
            show_default=False,
        ),
    ] = None,
    clients: Annotated[
        str | None,
        typer.Option(
            "--clients", metavar="NUMBER,…", help="1,64 if not given.", show_default=False
        ),
    ] = None,
    participants: Annotated[
        str | None,
        typer.Option("--participants", metavar="N,…", help="2 if not given.", show_default=False),
    ] = None,
    failures: Annotated[
        str | None,
        typer.Option("--failures", metavar="F,…", help="1 if not given.", show_default=False),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="All drivers, clients 1,8,32,64, N 2,3,5 and F 1,2; takes hours."
        ),
    ] = False,
    scenario: Annotated[
        Scenario | None,
        typer.Option("--scenario", help="Measure this instead of the systems.", show_default=False),
    ] = None,
    counts: Annotated[
        bool, typer.Option("--counts/--no-counts", help="Whether to count exactly as well.")
    ] = True,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also show where the client's CPU goes.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, help="Measure in the order of an earlier run.", show_default=False
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page.", show_default=False),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            metavar="FILE",
            help="Write the page's picture; that of growth as SVG if FILE ends so.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Measure what a commit across databases costs, and count its round trips and WAL flushes.

    Every system does the same small work, interleaved with the others and repeated; what to look
    at are ratios.  Starts servers of its own unless --config is given, and leaves nothing behind.
    A target that is not met is told, and is no failure.
    """

    def command() -> Report:
        # Not at the top: no other command needs test servers.
        from paxcommit.testing.bench.measuring import Schedule

        schedule = Schedule(
            seconds=seconds,
            warm=min(1.0, seconds / 2),
            repetitions=repetitions or _REPETITIONS[scenario],
            seed=secrets.randbits(32) if seed is None else seed,
        )
        chosen = _numbers("--clients", clients, [1, 8, 32, 64] if full else [1, 64])
        named = _names("--drivers", drivers, _all_drivers() if full else ["asyncpg"])
        if scenario is not None:
            if config is not None or html is not None:
                raise ConfigurationError(
                    "--scenario has servers of its own and makes no page: leave --config and "
                    "--html out"
                )
            if scenario is Scenario.GROWTH:
                return _play_growth(named[0], schedule, png, as_json)
            if png is not None:
                raise ConfigurationError(
                    "of the scenarios only growth has a picture: leave --png out"
                )
            return _play_scenario(scenario, named[0], chosen, schedule, as_json)
        from paxcommit.testing.bench.cells import FLOORS, SYSTEMS
        from paxcommit.testing.bench.run import Plan

        plan = Plan(
            schedule=schedule,
            config=config,
            drivers=named,
            systems=_known(
                "--systems", _split("--systems", systems, list(SYSTEMS)), [*SYSTEMS, *FLOORS]
            ),
            participants=_numbers("--participants", participants, [2, 3, 5] if full else [2]),
            failures=_numbers("--failures", failures, _all_failures(config, full=full), least=0),
            clients=chosen,
            counts=counts,
            profile=profile,
        )
        return _play(plan, html, png, as_json)

    run_plain(command, as_json=as_json)


def _play(plan: Plan, html: Path | None, png: Path | None, as_json: bool) -> Report:
    from paxcommit.testing.bench.page import write_page
    from paxcommit.testing.bench.plots import check_plot_tools, write_png
    from paxcommit.testing.bench.run import play
    from paxcommit.testing.bench.table import tabulate

    if html is not None or png is not None:
        check_plot_tools()
    with _told() as tell:
        result = play(plan, tell)
    places = {}
    if html is not None:
        write_page(html, result)
        places["page"] = str(html)
    if png is not None:
        write_png(png, result.document["cells"])
        places["picture"] = str(png)
    return _report({**result.document, **places}, tabulate(result), as_json)


def _play_scenario(
    scenario: Scenario, driver: str, clients: Sequence[int], schedule: Schedule, as_json: bool
) -> Report:
    from paxcommit.testing.bench.ailing import play_ailing
    from paxcommit.testing.bench.recovering import play_recovery

    with _told() as tell:
        match scenario:
            case Scenario.ACCEPTOR_DEAD:
                document = play_ailing("dead", driver, clients, schedule, tell)
            case Scenario.ACCEPTOR_SLOW:
                document = play_ailing("slow", driver, clients, schedule, tell)
            case Scenario.RECOVERY_64:
                document = play_recovery(64, schedule.repetitions, driver, tell)
            case Scenario.RECOVERY_1000:
                document = play_recovery(1000, schedule.repetitions, driver, tell)
            case _:
                raise InvariantViolation(f"{scenario} is played elsewhere")
    return _report(document, Pretty(document), as_json)


def _play_growth(driver: str, schedule: Schedule, png: Path | None, as_json: bool) -> Report:
    from paxcommit.testing.bench.growth.plots import write_picture
    from paxcommit.testing.bench.growth.run import play_growth
    from paxcommit.testing.bench.growth.sizes import FULL
    from paxcommit.testing.bench.growth.tables import tabulate
    from paxcommit.testing.bench.plots import check_plot_tools

    if png is not None:
        check_plot_tools()
    with _told() as tell:
        document = play_growth(driver, FULL, schedule, tell)
    if png is not None:
        write_picture(png, document)
        document["picture"] = str(png)
    return _report(document, Text(tabulate(document)), as_json)


def _report(document: dict[str, Any], text: RenderableType, as_json: bool) -> Report:
    if as_json:  # standard output belongs to the document
        Console(stderr=True).print(text)
    return Report(Exit.OK, document, text)


@contextmanager
def _told() -> Iterator[Callable[[str], None]]:
    """Show on standard error what is going on."""
    from paxcommit.testing.demo.screen import Screen

    with Screen() as screen:
        yield screen.line


def _all_failures(config: Path | None, *, full: bool) -> list[int]:
    if config is not None:  # acceptors are as many as they are
        from paxcommit.settings import Settings

        return [len(Settings.load(config).acceptors) // 2]
    return [1, 2] if full else [1]


def _all_drivers() -> list[str]:
    from paxcommit.testing.bench.cells import DRIVERS

    return list(DRIVERS)


def _names(option: str, text: str | None, default: list[str]) -> list[str]:
    chosen = _split(option, text, default)
    return _known(option, chosen, _all_drivers())


def _known(option: str, chosen: list[str], known: list[str]) -> list[str]:
    for name in chosen:
        if name not in known:
            raise ConfigurationError(f"{option}: there is no {name!r}, but {', '.join(known)}")
    return chosen


def _numbers(option: str, text: str | None, default: list[int], *, least: int = 1) -> list[int]:
    chosen = _split(option, text, [str(number) for number in default])
    if not all(each.isascii() and each.isdigit() and least <= int(each) <= 200 for each in chosen):
        raise ConfigurationError(f"{option}={text}: give whole numbers from {least} to 200")
    return [int(each) for each in chosen]


def _split(option: str, text: str | None, default: list[str]) -> list[str]:
    if text is None:
        return default
    chosen = list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not chosen:
        raise ConfigurationError(f"{option} names nothing")
    return chosen
