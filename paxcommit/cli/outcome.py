"""``paxcommit outcome TXID``: committed, aborted or open; ``--force`` decides (R23)."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import typer
from rich.console import Group
from rich.text import Text

from paxcommit.async_recovery import AsyncRecovery
from paxcommit.cli.exits import Exit
from paxcommit.cli.options import ConfigOption, DriverOption, JsonOption, TxIdArgument
from paxcommit.cli.report import Report
from paxcommit.cli.running import Context, run
from paxcommit.ids import TxId
from paxcommit.protocol.values import Outcome
from paxcommit.reports import Resolved

__all__ = ["describe", "document", "outcome", "outcome_exit"]

_STYLES = {Outcome.COMMITTED: "bold green", Outcome.ABORTED: "bold", Outcome.OPEN: "bold yellow"}
_EXITS = {
    Outcome.COMMITTED: Exit.OK,
    Outcome.ABORTED: Exit.ABORTED,
    Outcome.OPEN: Exit.UNDECIDED,
}


def outcome(
    txid: TxIdArgument,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Decide it if it is open, by a ballot, and apply the decision everywhere.",
        ),
    ] = False,
    config: ConfigOption = None,
    driver: DriverOption = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Ask the acceptors for a transaction's outcome; an answer never changes afterwards."""

    async def command(context: Context) -> Report:
        asked = TxId.parse(txid)
        async with AsyncRecovery.open(context.settings, driver=context.driver_name) as recovery:
            resolved = await recovery.resolve(asked, force=force)
        lines = [Text(str(resolved.outcome), _STYLES[resolved.outcome]), *describe(resolved)]
        if resolved.outcome is Outcome.OPEN:
            lines.append(Text(f"What happens next: paxcommit explain {asked}"))
        return Report(outcome_exit(resolved), document(resolved), Group(*lines))

    run(command, config=config, driver=driver, as_json=as_json)


def outcome_exit(resolved: Resolved) -> Exit:
    """The exit code that a transaction's outcome deserves."""
    return Exit.DAMAGE if resolved.damage else _EXITS[resolved.outcome]


def describe(resolved: Resolved) -> list[Text]:
    """What is known beside the outcome, a line each."""
    lines = [Text(resolved.reason, "dim")]
    lines += [
        Text(f"not applied yet at {name}: {reason}", "yellow")
        for name, reason in sorted(resolved.unapplied.items())
    ]
    lines += [
        Text(f"DAMAGE at {name}: {damage.detail}", "bold red")
        for name, damage in sorted(resolved.damage.items())
    ]
    return lines


def document(resolved: Resolved) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "txid": str(resolved.txid),
        "outcome": resolved.outcome.value,
        "reason": resolved.reason,
        "unapplied": dict(resolved.unapplied),
        "damage": {
            name: {"what": damage.what, "detail": damage.detail}
            for name, damage in resolved.damage.items()
        },
    }
