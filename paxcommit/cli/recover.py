"""``paxcommit recover``: finish what dead or silent coordinators left behind (R25 to R28)."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Annotated, Any, NoReturn

import tenacity
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from paxcommit.async_recovery import AsyncRecovery
from paxcommit.cli.exits import Exit
from paxcommit.cli.options import ConfigOption, DriverOption, JsonOption
from paxcommit.cli.outcome import describe, document
from paxcommit.cli.report import Report
from paxcommit.cli.running import Context, run
from paxcommit.errors import NotEnoughAcceptors
from paxcommit.protocol.values import Outcome
from paxcommit.reports import RecoveryReport

__all__ = ["recover"]

_log = logging.getLogger("paxcommit.recovery")


def recover(
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Look again and again, until SIGINT or SIGTERM; logs what it does."
        ),
    ] = False,
    config: ConfigOption = None,
    driver: DriverOption = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Resolve what dead or late coordinators left behind; any number of recoverers may run.

    Without F+1 acceptors it reports and changes nothing.
    """
    run(_watch if watch else _once, config=config, driver=driver, as_json=as_json)


async def _once(context: Context) -> Report:
    async with AsyncRecovery.open(context.settings, driver=context.driver_name) as recovery:
        report = await recovery.run_once()
    return Report(_code(report), _document(report), _text(report))


async def _watch(context: Context) -> Report:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(_watch_for_ever(context))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return Report(Exit.OK, {"stopped": True}, Text("Stopped; other recoverers go on."))


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(NotEnoughAcceptors),
    wait=tenacity.wait_random_exponential(multiplier=0.2, max=5.0),
    before_sleep=tenacity.before_sleep_log(_log, logging.WARNING),
)
async def _watch_for_ever(context: Context) -> None:
    """Watch; at the start, wait for F+1 acceptors to be there."""
    async with AsyncRecovery.open(context.settings, driver=context.driver_name) as recovery:
        _log.info("watching %s", ", ".join(sorted(context.settings.participants)))
        await recovery.watch()


def _code(report: RecoveryReport) -> Exit:
    if report.damaged:
        return Exit.DAMAGE
    if report.unreachable:
        return Exit.UNREACHABLE
    unfinished = any(each.outcome is Outcome.OPEN or each.unapplied for each in report.resolved)
    return Exit.UNDECIDED if unfinished else Exit.OK


def _document(report: RecoveryReport) -> dict[str, Any]:
    return {
        "in_doubt": report.in_doubt,
        "resolved": [document(each) for each in report.resolved],
        "foreign": list(report.foreign),
        "unreachable": dict(report.unreachable),
    }


def _text(report: RecoveryReport) -> RenderableType:
    lines = [
        Text(
            f"{report.in_doubt} branches were prepared; {len(report.resolved)} transactions were "
            f"taken up."
        )
    ]
    for each in report.resolved:
        lines.append(Text(f"{each.txid}: {each.outcome}"))
        lines += [Text.assemble("  ", line) for line in describe(each)]
    lines += [Text(f"not ours, never touched: {gid}", "yellow") for gid in report.foreign]
    lines += [
        Text(f"{name} cannot be asked: {reason}", "red")
        for name, reason in sorted(report.unreachable.items())
    ]
    return Group(*lines)
