"""CPU per transaction of every kind of machine, measured here, and what the model makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paxcommit.testing.admin import admin_execute
from paxcommit.testing.bench.cells import Group
from paxcommit.testing.bench.growth.model import Costs, bottleneck
from paxcommit.testing.bench.job import Measure, Measured
from paxcommit.testing.bench.measuring import Schedule
from paxcommit.testing.bench.stage import Stage, together
from paxcommit.testing.bench.worker import Worker

__all__ = ["measure_machines"]

_CORES = 2
_BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def measure_machines(
    driver: str, clients: int, schedule: Schedule, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measure CPU by kind of machine, N=2 and F=1, for the bare driver and for paxcommit.

    Args:
        driver, clients, schedule: As everywhere.
        tell: Hears what is going on.

    Returns:
        Per system: milliseconds of CPU, the model's limits in transactions per second for servers
        of two cores, and which server is the scarcest.  Empty where there is no ``/proc``.
    """
    if not Path("/proc/self/schedstat").exists():
        return {}
    found: dict[str, Any] = {}
    with together(participants=2, failures=1, clients=clients) as stage:
        for system in ("bare", "paxcommit-applied"):
            tell(f"CPU by kind of machine: {system}")
            costs = _costs(stage, Group(driver, system), clients, schedule)
            first, limits = bottleneck(costs, _CORES)
            found[system] = {
                "cpu_ms": {name: round(1e3 * value, 4) for name, value in asdict(costs).items()},
                "limits": {name: round(value) for name, value in limits.items()},
                "scarcest": first,
            }
    return found


def _costs(stage: Stage, group: Group, clients: int, schedule: Schedule) -> Costs:
    """Of the busiest machine of each kind."""
    participants = list(stage.settings["participants"].values())
    acceptors = list(stage.settings["acceptors"].values()) if group.acceptors else []
    with Worker(stage.job(group)) as worker:
        stage.checkpoint()
        worker.order(Measure(clients, schedule.warm, schedule.seconds), Measured)  # connects all
        before = _seconds([*participants, *acceptors])
        measured = worker.order(Measure(clients, 0.0, 3 * schedule.seconds), Measured)
        after = _seconds([*participants, *acceptors])
    used = {dsn: after[dsn] - before[dsn] for dsn in after}
    # Commits before the window opens count for nothing there, but for the servers they do.
    commits = max(1, measured.commits)

    def busiest(dsns: list[str]) -> float:
        return max((used[dsn] for dsn in dsns), default=0.0) / commits

    return Costs(measured.cpu / commits, busiest(participants), busiest(acceptors))


def _seconds(dsns: list[str]) -> dict[str, float]:
    """Seconds of CPU that the clients' backends of each database have used."""
    return {dsn: sum(_of_processes(dsn)) for dsn in dsns}


def _of_processes(dsn: str) -> Iterator[float]:
    for (pid,) in admin_execute(dsn, _BACKENDS):
        try:
            text = Path(f"/proc/{pid}/schedstat").read_text()
        except OSError:  # it has ended
            continue
        yield int(text.split()[0]) / 1e9
