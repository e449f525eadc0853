"""The options that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["ConfigOption", "DriverOption", "JsonOption", "TxIdArgument"]

ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="PAXCOMMIT_CONFIG",
        metavar="FILE",
        help="Settings; paxcommit.toml in the working directory if not given.",
    ),
]
JsonOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--json", envvar="PAXCOMMIT_JSON", help="One JSON document, the last line of the output."
    ),
]
DriverOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--driver",
        envvar="PAXCOMMIT_DRIVER",
        metavar="NAME",
        help="asyncpg or psycopg; whichever is installed if not given.",
    ),
]
TxIdArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TXID",
        help="As tx.id, the logs and `paxcommit status` spell it.",
        show_default=False,
    ),
]
