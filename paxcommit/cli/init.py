"""``paxcommit init``: make the cluster, or print what a DBA would have to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Group
from rich.text import Text

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import ConfigOption, DriverOption, JsonOption
from paxcommit.cli.report import Report
from paxcommit.cli.running import Context, run, run_plain
from paxcommit.cluster import Initialised, initialise
from paxcommit.inspection.sites import sites_of
from paxcommit.settings import Settings
from paxcommit.sql.schema import SCHEMA_VERSION, ddl, grants

__all__ = ["init"]


def init(
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the DDL and the grants, and touch nothing.")
    ] = False,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            metavar="ROLE",
            help="A role that may coordinate and recover; may be repeated.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    driver: DriverOption = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Install or upgrade the schemas and write the epoch record; a second run changes nothing.

    Needs every acceptor and every participant, and logins that may create a schema.  Creates
    nothing at all if any of the databases belongs to another cluster.
    """
    roles = tuple(role or ())
    if sql:
        run_plain(lambda: _script(config, roles), as_json=as_json)

    async def command(context: Context) -> Report:
        return _report(await initialise(context.settings, context.driver, roles=roles))

    run(command, config=config, driver=driver, as_json=as_json)


def _report(made: Initialised) -> Report:
    record = made.record
    lines = [Text.assemble(("✓ ", "green"), step) for step in made.done]
    if not lines:
        lines = [Text("Nothing to do: everything stands already.")]
    lines += [Text.assemble(("! ", "yellow"), note) for note in made.notes]
    lines.append(
        Text.assemble(
            ("Cluster ", ""),
            (record.cluster_name, "bold"),
            f", epoch {record.epoch}, digest {record.digest}: {len(record.acceptors)} acceptors, "
            f"of which {record.f} may fail.",
        )
    )
    document = {
        "cluster": record.cluster_name,
        "cluster_id": record.cluster_id,
        "epoch": record.epoch,
        "digest": record.digest,
        "acceptors": [acceptor.name for acceptor in record.acceptors],
        "changed": bool(made.done),
        "done": list(made.done),
        "notes": list(made.notes),
    }
    return Report(Exit.OK, document, Group(*lines))


def _script(config: Path | None, roles: tuple[str, ...]) -> Report:
    sites = sites_of(Settings.load(config))
    parts = [
        f"-- paxcommit, schema version {SCHEMA_VERSION}.  As the future owner of the schema, once "
        f"in each of these databases:\n",
        *(f"--   {place}\n" for place in sorted({str(site.address) for site in sites})),
        ddl(roles),
    ]
    for site in sites:
        if site.role is not None and site.role not in roles:
            parts += [f"\n-- Only at {site}:\n", grants(site.role)]
    parts.append("\n-- Then run `paxcommit init` as the same owner: it writes the epoch record.\n")
    script = "".join(parts)
    return Report(Exit.OK, {"sql": script}, script)
