"""The ``paxcommit`` command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from paxcommit.cli.bench import bench
from paxcommit.cli.chaos import chaos
from paxcommit.cli.demo import demo
from paxcommit.cli.doctor import doctor
from paxcommit.cli.exits import EPILOG
from paxcommit.cli.explain import explain
from paxcommit.cli.init import init
from paxcommit.cli.outcome import outcome
from paxcommit.cli.recover import recover
from paxcommit.cli.status import status

__all__ = ["app"]

# No locals in tracebacks: they hold DSNs (trap 34).
app = typer.Typer(
    name="paxcommit",
    help="One transaction across several PostgreSQL databases, by Paxos Commit.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"paxcommit {version('paxcommit')}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


for _command in (init, doctor, status, explain, outcome, recover, demo, chaos, bench):
    app.command(epilog=EPILOG)(_command)
