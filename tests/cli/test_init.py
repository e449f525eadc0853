"""``paxcommit init`` on real servers: all or nothing, and finished by another run (R2)."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.settings import Settings
from paxcommit.sql.statement import Result, Sql
from paxcommit.testing import Layout

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

MakeLayout = Callable[..., Layout]


@pytest.fixture
def installed(cli: Cli, config: Path) -> Path:
    assert cli("init").code == 0
    return config


def standing(layout: Layout) -> list[str]:
    """The databases in which a schema paxcommit stands."""
    places = {**layout.acceptor_places, **layout.participant_places}
    query = "select 1 from pg_namespace where nspname = 'paxcommit'"
    return sorted(name for name, place in places.items() if place.execute(query))


def digests(layout: Layout) -> set[str]:
    """The digests of the records that all acceptors and participants hold."""
    held = [place.execute("select digest from paxcommit.epoch") for place in acceptors(layout)]
    held += [
        place.execute("select distinct digest from paxcommit.participant_epoch")
        for place in layout.participant_places.values()
    ]
    assert all(len(rows) == 1 for rows in held)
    return {rows[0][0] for rows in held}


def acceptors(layout: Layout) -> list[Any]:
    return list(layout.acceptor_places.values())


def test_init_makes_a_cluster_and_a_second_run_changes_nothing(
    cli: Cli, config: Path, layout: Layout
) -> None:
    first = cli("init")
    assert first.code == 0, first.err
    assert "wrote the epoch record at acceptor a1" in first.out
    second = cli("init", "--json")
    assert second.code == 0
    assert second.document["changed"] is False
    assert second.document["done"] == []
    assert second.document["acceptors"] == ["a1", "a2", "a3"]
    assert "Nothing to do" in cli("init").out
    assert digests(layout) == {second.document["digest"]}


def test_r2_init_creates_nothing_if_any_acceptor_holds_another_record(
    cli: Cli, make_layout: MakeLayout, tmp_path: Path
) -> None:
    other, ours = make_layout(name="other"), make_layout()
    assert cli("init", "--config", other.write_config(tmp_path)).code == 0
    stolen = replace(
        ours, acceptor_places={**ours.acceptor_places, "a3": other.acceptor_places["a3"]}
    )
    before = digests(other)
    ran = cli("init", "--json", "--config", stolen.write_config(tmp_path))
    assert ran.code == 1
    assert "already belongs to cluster 'other'" in ran.document["error"]["what"]
    assert standing(ours) == []
    assert digests(other) == before


def test_r2_a_cluster_of_the_same_name_is_another_cluster_all_the_same(
    cli: Cli, make_layout: MakeLayout, tmp_path: Path
) -> None:
    other, ours = make_layout(), make_layout()
    assert cli("init", "--config", other.write_config(tmp_path)).code == 0
    stolen = replace(
        ours, acceptor_places={**ours.acceptor_places, "a1": other.acceptor_places["a1"]}
    )
    ran = cli("init", "--config", stolen.write_config(tmp_path))
    assert ran.code == 1
    assert "is not the acceptor that the epoch record names" in ran.err
    assert standing(ours) == []


def test_r2_init_creates_nothing_if_a_participant_takes_part_in_another_cluster(
    cli: Cli, make_layout: MakeLayout, tmp_path: Path
) -> None:
    other, ours = make_layout(name="other"), make_layout()
    assert cli("init", "--config", other.write_config(tmp_path)).code == 0
    stolen = replace(
        ours,
        participant_places={
            **ours.participant_places,
            "orders": other.participant_places["orders"],
        },
    )
    ran = cli("init", "--config", stolen.write_config(tmp_path))
    assert ran.code == 1
    assert "participant orders" in ran.err
    assert "already takes part in another cluster" in ran.err
    assert standing(ours) == []


def test_init_creates_nothing_while_a_server_is_down(
    cli: Cli, config: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv(
        "PAXCOMMIT_ACCEPTORS__A3", f"postgresql://u:hunter2@127.0.0.1:{closed_port}/w"
    )
    ran = cli("init")
    assert ran.code == 6
    assert f"acceptor a3 at localhost:{closed_port}/w" in ran.err
    assert "hunter2" not in ran.err
    assert standing(layout) == []
    monkeypatch.delenv("PAXCOMMIT_ACCEPTORS__A3")
    monkeypatch.setenv("PAXCOMMIT_PARTICIPANTS__ORDERS", f"postgresql://127.0.0.1:{closed_port}/o")
    assert cli("init").code == 6
    assert standing(layout) == []


class Interrupting:
    """A driver whose sessions die after so many statements, all together, as with the process."""

    def __init__(self, statements: int) -> None:
        self._driver = choose_async()
        self._left = itertools.chain(range(statements), itertools.repeat(-1))

    async def connect(self, dsn: str, *, timeout: float) -> Any:
        session = await self._driver.connect(dsn, timeout=timeout)
        execute = session.execute

        async def limited(sql: Sql) -> Result:
            if next(self._left) < 0:
                session.discard()
                raise asyncio.CancelledError
            return await execute(sql)

        session.execute = limited  # type: ignore[method-assign]
        return session


@pytest.mark.parametrize("statements", [26, 36, 46, 50, 52, 54, 56, 58])
def test_an_interrupted_init_is_finished_by_another_run(
    cli: Cli, config: Path, layout: Layout, statements: int
) -> None:
    settings = Settings.load(config)
    try:
        asyncio.run(initialise(settings, Interrupting(statements)))  # type: ignore[arg-type]
    except asyncio.CancelledError:
        pass
    else:
        pytest.fail(f"{statements} statements were enough for all of it")
    ran = cli("init", "--json")
    assert ran.code == 0, ran.err
    assert digests(layout) == {ran.document["digest"]}
    assert cli("doctor").code == 0


def test_inits_at_the_same_time_agree(cli: Cli, config: Path, layout: Layout) -> None:
    settings = Settings.load(config)

    async def several() -> set[str]:
        driver = choose_async()
        made = await asyncio.gather(*(initialise(settings, driver) for _ in range(4)))
        return {each.record.digest for each in made}

    assert asyncio.run(several()) == digests(layout)


def test_a_rebuilt_acceptor_is_not_taken_back(cli: Cli, installed: Path, layout: Layout) -> None:
    layout.place("a2").execute("drop schema paxcommit cascade")
    ran = cli("init")
    assert ran.code == 1
    assert "acceptor a2" in ran.err
    assert "it never was one" in ran.err
    assert "a2" not in standing(layout)


def test_exchanged_dsns_are_found_out(
    cli: Cli, installed: Path, layout: Layout, tmp_path: Path
) -> None:
    places = dict(layout.acceptor_places)
    places["a1"], places["a2"] = places["a2"], places["a1"]
    ran = cli("init", "--config", replace(layout, acceptor_places=places).write_config(tmp_path))
    assert ran.code == 1
    assert "is not the acceptor that the epoch record names" in ran.err


def test_other_acceptors_than_the_record_s_are_refused(
    cli: Cli, installed: Path, layout: Layout, tmp_path: Path
) -> None:
    renamed = {f"b{name}": place for name, place in layout.acceptor_places.items()}
    ran = cli("init", "--config", replace(layout, acceptor_places=renamed).write_config(tmp_path))
    assert ran.code == 1
    assert "already belongs to cluster 'shop' with acceptors a1, a2, a3" in ran.err


def test_one_server_under_two_names_is_found_out(
    cli: Cli, config: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = layout.place("a1")
    alias = first.dsn.replace("127.0.0.1", "2130706433")  # the same address, spelt as one number
    monkeypatch.setenv("PAXCOMMIT_ACCEPTORS__A2", alias)
    ran = cli("init")
    assert ran.code == 2
    assert "are on one server, or on copies of one" in ran.err
    assert standing(layout) == []
    monkeypatch.delenv("PAXCOMMIT_ACCEPTORS__A2")
    monkeypatch.setenv(
        "PAXCOMMIT_PARTICIPANTS__TWIN",
        layout.place("orders").dsn.replace("127.0.0.1", "2130706433"),
    )
    ran = cli("init")
    assert ran.code == 2
    assert "are one database" in ran.err
    assert standing(layout) == []


def test_a_participant_can_join_later_but_not_move(
    cli: Cli, installed: Path, layout: Layout, make_layout: MakeLayout, tmp_path: Path
) -> None:
    spare = make_layout(participants=("stock", "more"))
    grown = {**layout.participant_places, "stock": spare.place("stock")}
    ran = cli(
        "init",
        "--json",
        "--config",
        replace(layout, participant_places=grown).write_config(tmp_path),
    )
    assert ran.code == 0, ran.err
    assert len(ran.document["done"]) == 3
    moved = {**layout.participant_places, "stock": spare.place("more")}
    ran = cli("init", "--config", replace(layout, participant_places=moved).write_config(tmp_path))
    assert ran.code == 1
    assert "is not the participant that acceptor a1 knows" in ran.err
    assert (
        spare.place("more").execute("select 1 from pg_namespace where nspname = 'paxcommit'") == []
    )


def test_an_unknown_role_is_an_error_and_nothing_is_created(
    cli: Cli, config: Path, layout: Layout
) -> None:
    ran = cli("init", "--role", "nobody_here")
    assert ran.code == 2
    assert "no role nobody_here" in ran.err
    assert standing(layout) == []


def test_a_login_that_may_not_create_a_schema_is_told_before_anything_is_created(
    cli: Cli, config: Path, layout: Layout, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = layout.place("a3")
    monkeypatch.setenv("PAXCOMMIT_ACCEPTORS__A3", place.server.dsn(place.database, user=login))
    ran = cli("init")
    assert ran.code == 1
    assert f"role {login} may neither create the paxcommit schema" in ran.err
    assert standing(layout) == []


def test_a_newer_schema_is_refused_and_nothing_is_created(
    cli: Cli, config: Path, layout: Layout
) -> None:
    cli("init")
    layout.place("billing").execute("update paxcommit.meta set version = 99, oldest_code = 99")
    layout.place("orders").execute("drop schema paxcommit cascade")
    ran = cli("init")
    assert ran.code == 1
    assert "schema version 99" in ran.err
    assert "orders" not in standing(layout)


def test_init_sql_touches_nothing_and_prints_what_installs(
    cli: Cli, config: Path, layout: Layout, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # a script is not wrapped
    ran = cli("init", "--sql", "--role", login)
    assert ran.code == 0
    assert standing(layout) == []
    assert layout.place("a1").dsn not in ran.out
    for name in ("a1", "a2", "a3", "orders", "billing"):
        layout.place(name).execute(ran.out)
    made = cli("init", "--json")
    assert made.code == 0
    assert not any("schema" in step for step in made.document["done"])
    assert json.loads(cli("init", "--sql", "--json", "--role", login).out)["sql"] == ran.out


def test_a_participant_that_cannot_prepare_yet_is_noted(
    cli: Cli, make_layout: MakeLayout, fresh_cluster: Callable[..., Any], tmp_path: Path
) -> None:
    layout = make_layout(fresh_cluster(1, settings={"max_prepared_transactions": 0}), failures=0)
    ran = cli("init", "--json", "--config", layout.write_config(tmp_path))
    assert ran.code == 0
    assert "max_prepared_transactions = 0" in ran.document["notes"][0]
    ran = cli("doctor", "--json", "--config", layout.write_config(tmp_path))
    assert ran.code == 1
    bad = {check["name"] for check in ran.document["checks"] if check["level"] == "problem"}
    assert bad == {"max_prepared_transactions", "prepare and roll back"}
