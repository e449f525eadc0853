"""Medians and ratios, from numbers to the document."""

from __future__ import annotations

import pytest

from paxcommit.testing.bench.cells import DRIVERS, FLOORS, SYSTEMS, Cell, Group, groups
from paxcommit.testing.bench.job import Measured
from paxcommit.testing.bench.measuring import Measurements
from paxcommit.testing.bench.reckoning import (
    TARGETS,
    floor_ratios,
    median_ratio,
    ratios,
    summary,
    told_targets,
)
from paxcommit.testing.bench.work import ROWS_EACH, row_of


def measured(commits: int, p50: float = 0.01, cpu: float = 1.0) -> Measured:
    return Measured(commits, 1.0, cpu, p50, 2 * p50)


def test_a_ratio_is_the_median_of_ratios_within_a_repetition() -> None:
    # The machine was ten times slower in the second repetition, for both of them.
    these, those = [measured(50), measured(5), measured(80)], [measured(100), measured(10)] * 2
    assert median_ratio("throughput", these, those) == 0.5


def test_nothing_measured_is_no_ratio() -> None:
    assert median_ratio("throughput", [measured(1)], []) is None
    assert median_ratio("throughput", [measured(1)], [measured(0)]) is None


def test_every_target_of_the_default_run_is_told() -> None:
    found = Measurements(
        {
            Cell(Group("asyncpg", system), clients): [measured(100)]
            for system in SYSTEMS
            for clients in (1, 64)
        }
    )
    told = ratios(found, "asyncpg", 2, 1)
    assert told == {target.name: 1.0 for target in TARGETS}
    assert {name for name, each in told_targets(told).items() if not each["met"]} == {
        "throughput_vs_logged_2pc_64",
        "throughput_vs_sqlalchemy_64",
        "decided_p50_vs_bare_64",
    }


def test_a_target_whose_cells_are_missing_is_not_told() -> None:
    found = Measurements({Cell(Group("asyncpg", "bare"), 64): [measured(100)]})
    assert ratios(found, "asyncpg", 2, 1) == told_targets({}) == {}


def test_a_floor_is_held_against_the_targets_in_the_place_of_paxcommit() -> None:
    found = Measurements(
        {
            Cell(Group("asyncpg", "bare"), 64): [measured(100, 0.01)],
            Cell(Group("asyncpg", "floor-rows"), 64): [measured(80, 0.012, 0.9)],
            Cell(Group("asyncpg", "floor-rows-decided"), 64): [measured(70, 0.02)],
            Cell(Group("asyncpg", "floor-votes"), 64): [measured(90, 0.02)],
        }
    )
    assert ratios(found, "asyncpg", 2, 1) == {}
    assert floor_ratios(found, "asyncpg", 2, 1) == {
        "floor-rows": {
            "throughput_vs_bare_64": 0.8,
            "decided_p50_vs_bare_64": 2.0,
            "client_cpu_vs_bare_64": 1.125,
        }
    }


def test_no_floor_is_measured_unless_it_is_named() -> None:
    assert not set(FLOORS) & set(SYSTEMS)


def test_cells_are_held_against_the_bare_driver_with_the_same_n_and_clients() -> None:
    found = Measurements(
        {
            Cell(Group("asyncpg", "bare", 2), 8): [measured(100)],
            Cell(Group("asyncpg", "bare", 3), 8): [measured(1000)],
            Cell(Group("psycopg", "bare", 2), 8): [measured(1000)],
            Cell(Group("asyncpg", "paxcommit-applied", 2, 2), 8): [measured(50, 0.02, 2.0)],
        }
    )
    [row] = [row for row in summary(found) if row["failures"]]
    assert row["vs_bare"] == {"throughput": 0.5, "p50": 2.0, "p99": 2.0, "cpu": 4.0}
    assert (row["failures"], row["commit_p50_ms"], row["client_cpu_ms"]) == (2, 20.0, 40.0)


def test_f_is_varied_only_where_there_are_acceptors() -> None:
    found = list(groups(DRIVERS, list(SYSTEMS), [2, 3, 5], [1, 2]))
    assert len(found) == len(set(found)) == 3 * 3 * (4 + 2 * 2)
    assert all(group.failures == 1 for group in found if not group.acceptors)


@pytest.mark.parametrize("clients", [2, 64])
def test_no_two_clients_and_no_two_transactions_in_a_row_meet(clients: int) -> None:
    rows = [row_of(client, number) for client in range(clients) for number in range(ROWS_EACH)]
    assert sorted(rows) == list(range(clients * ROWS_EACH))
