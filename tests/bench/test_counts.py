"""What a transaction costs, exactly: round trips, statements and WAL flushes, on real servers.

Performance is guarded by these numbers and not by times.  Whoever saves a round trip writes the
smaller number here; a larger one is a regression that needs a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

import pytest

from paxcommit.testing.bench.cells import Group
from paxcommit.testing.bench.counting import Counts, count
from paxcommit.testing.bench.stage import Stage, apart

# Round trips, statements and flushes: each at participants, acceptors and the decision log.
PLAIN = {
    "asyncpg": (8, 0, 0, 14, 0, 0, 2, 0, 0),  # its pool resets a connection that comes back
    "psycopg": (6, 0, 0, 6, 0, 0, 2, 0, 0),
    "psycopg-sync": (6, 0, 0, 6, 0, 0, 2, 0, 0),
}
BARE = {
    "asyncpg": (10, 0, 0, 16, 0, 0, 4, 0, 0),
    "psycopg": (8, 0, 0, 8, 0, 0, 4, 0, 0),
    "psycopg-sync": (8, 0, 0, 8, 0, 0, 4, 0, 0),
}
LOGGED = {"asyncpg": (10, 0, 2, 16, 0, 5, 4, 0, 1)}
# Of 2F+1 acceptors F+1 are asked.  A connection is cleaned by itself on psycopg and, if it is lent
# again soon, together with the next BEGIN on asyncpg: a round trip less, two statements more.
PAXCOMMIT = {
    "asyncpg": (8, 2, 0, 34, 2, 0, 4, 2, 0),
    "psycopg": (10, 2, 0, 30, 2, 0, 4, 2, 0),
    "psycopg-sync": (10, 2, 0, 30, 2, 0, 4, 2, 0),
}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with apart(participants=2, failures=1, clients=1, quiet=True) as made:
        yield made


def exact(counts: Counts) -> tuple[float, ...]:
    """Without the WAL's bytes, to which full pages add now and then, and hedges to the flushes."""
    *trips_and_statements, at_participants, at_acceptors, at_log = astuple(counts)[:9]
    return (*trips_and_statements, at_participants, round(at_acceptors), at_log)


@pytest.mark.parametrize("driver", BARE)
def test_a_commit_costs_this_much(stage: Stage, driver: str) -> None:
    assert exact(count(stage, Group(driver, "paxcommit-applied"))) == PAXCOMMIT[driver]


def test_not_to_wait_for_phase_2_saves_no_work(stage: Stage) -> None:
    assert exact(count(stage, Group("asyncpg", "paxcommit-decided"))) == PAXCOMMIT["asyncpg"]


@pytest.mark.parametrize("driver", BARE)
def test_the_bare_driver_costs_this_much(stage: Stage, driver: str) -> None:
    assert exact(count(stage, Group(driver, "bare"))) == BARE[driver]


def test_a_decision_log_costs_one_flush(stage: Stage) -> None:
    assert exact(count(stage, Group("asyncpg", "logged-2pc"))) == LOGGED["asyncpg"]


def test_a_plain_commit_is_the_floor(stage: Stage) -> None:
    assert exact(count(stage, Group("asyncpg", "plain"))) == PLAIN["asyncpg"]


def test_sqlalchemy_really_commits_in_two_phases(stage: Stage) -> None:
    pytest.importorskip("sqlalchemy")
    assert count(stage, Group("asyncpg", "sqlalchemy")).participant_flushes == 4
