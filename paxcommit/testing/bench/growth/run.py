"""All four series in one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paxcommit.testing.bench.growth.machines import measure_machines
from paxcommit.testing.bench.growth.series import (
    by_backlog,
    by_failures,
    by_participants,
    by_rows,
    counts,
)
from paxcommit.testing.bench.growth.sizes import Sizes
from paxcommit.testing.bench.measuring import Schedule

__all__ = ["play_growth"]


def play_growth(
    driver: str, sizes: Sizes, schedule: Schedule, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measure how cost grows; blocks.

    Args:
        driver: asyncpg or psycopg.
        sizes: How far.
        schedule: How often and how long each point is measured.
        tell: Hears what is going on.

    Returns:
        The JSON document: a list of points per series, exact counts, and what the model of more
        machines makes of the CPU measured here.
    """
    return {
        "scenario": "growth",
        "driver": driver,
        "by_participants": by_participants(driver, sizes, schedule, tell),
        "by_failures": by_failures(driver, sizes, schedule, tell),
        "by_backlog": by_backlog(driver, sizes, schedule, tell),
        "by_rows": by_rows(driver, sizes, schedule, tell),
        "counts": counts(driver, sizes, tell),
        "machines": measure_machines(driver, max(sizes.clients), schedule, tell),
    }
