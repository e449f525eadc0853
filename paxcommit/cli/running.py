"""Runs a command: settings and driver in, a report or an error told in words out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console, Group
from rich.text import Text

from paxcommit.cli.exits import Exit
from paxcommit.cli.report import Report
from paxcommit.cli.telling import Trouble, trouble
from paxcommit.drivers import choose_async
from paxcommit.errors import PaxcommitError
from paxcommit.ports import AsyncDriver
from paxcommit.settings import Settings

__all__ = ["Context", "run", "run_plain"]

_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Context:
    """What a command works with.

    Attributes:
        settings: Loaded and valid.
        driver: An installed one.
        driver_name: The one asked for, None for any.
        as_json: Whether standard output belongs to the one JSON document.
    """

    settings: Settings
    driver: AsyncDriver
    driver_name: str | None
    as_json: bool


def run(
    command: Callable[[Context], Coroutine[Any, Any, Report]],
    *,
    config: Path | None,
    driver: str | None,
    as_json: bool,
) -> NoReturn:
    """Run an async command to its end and exit with its code."""

    def call() -> Report:
        # What the library logs is in the report; only `recover --watch` shows it as it comes.
        logging.getLogger("paxcommit").addHandler(logging.NullHandler())
        context = Context(Settings.load(config), choose_async(driver), driver, as_json)
        return asyncio.run(command(context))

    run_plain(call, as_json=as_json)


def run_plain(command: Callable[[], Report], *, as_json: bool) -> NoReturn:
    """Run a command that needs no driver to its end and exit with its code."""
    try:
        report = command()
    except PaxcommitError as error:
        # Not re-raised: a traceback would hold frames, and frames hold DSNs (trap 34).
        told = trouble(error)
        _tell(told)
        _finish(told.document, told.code, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    if not as_json and isinstance(report.text, str):
        typer.echo(report.text, nl=False)
    elif not as_json:
        Console().print(report.text)
    _finish(report.document, report.code, as_json)


def _tell(told: Trouble) -> None:
    Console(stderr=True).print(
        Group(
            Text.assemble(("What happened: ", "bold red"), told.what),
            Text.assemble(("What it means: ", "bold"), told.data),
            Text.assemble(("What to do:    ", "bold"), told.advice),
        ),
        soft_wrap=True,
    )


def _finish(document: Mapping[str, Any], code: Exit, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({**document, "exit": code.value}))
    raise typer.Exit(code.value)
