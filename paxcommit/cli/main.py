"""The ``paxcommit`` command."""

from __future__ import annotations

import typer

from paxcommit.cli.exits import EPILOG
from paxcommit.cli.init import init

__all__ = ["app"]

# No locals in tracebacks: they hold DSNs (trap 34).
app = typer.Typer(
    name="paxcommit",
    help="One transaction across several PostgreSQL databases, by Paxos Commit.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (init,):
    app.command(epilog=EPILOG)(_command)
