"""``paxcommit init`` on real servers: all or nothing, and finished by another run (R2)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paxcommit.testing import Layout

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def schemas(layout: Layout) -> list[str]:
    """The names of the databases in which a schema paxcommit stands."""
    places = {**layout.acceptor_places, **layout.participant_places}
    query = "select 1 from pg_namespace where nspname = 'paxcommit'"
    return [name for name, place in places.items() if place.execute(query)]


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
    digests = {
        place.execute("select digest from paxcommit.epoch")[0][0]
        for place in layout.acceptor_places.values()
    }
    assert digests == {second.document["digest"]}
