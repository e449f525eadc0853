"""What more machines would give: a model, for one machine cannot measure it (docs/growth.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Costs", "Latency", "System", "bottleneck", "latency"]

System: TypeAlias = Literal["bare", "logged-2pc", "paxcommit-decided", "paxcommit-applied"]


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU per transaction, in seconds, each of one machine of its kind.

    Attributes:
        client: Of the process that runs transactions.
        participant: Of one participant's server.
        acceptor: Of one acceptor's server; 0 where there is none.
    """

    client: float
    participant: float
    acceptor: float = 0.0


def bottleneck(costs: Costs, cores: int) -> tuple[str, dict[str, float]]:
    """Transactions per second that each kind of machine can carry, and which kind is the first.

    A client is one Python process and so one core; there can be more of them.  Servers have
    `cores` each.

    Args:
        costs: As measured on one machine.
        cores: Of a server.

    Returns:
        The scarcest kind of server, and the limits of all kinds.
    """
    limits = {"client process": 1 / costs.client, "participant": cores / costs.participant}
    if costs.acceptor:
        limits["acceptor"] = cores / costs.acceptor
    servers = {kind: limit for kind, limit in limits.items() if kind != "client process"}
    return min(servers, key=lambda kind: servers[kind]), limits


@dataclass(frozen=True, slots=True)
class Latency:
    """What a step waits for, in seconds.

    Attributes:
        round_trip: Between any two machines, there and back.
        flush: Of WAL to stable storage.
        work: CPU of one step on client and server together.
    """

    round_trip: float
    flush: float
    work: float = 0.0


_STEPS: dict[System, int] = {
    "bare": 2,  # PREPARE, COMMIT PREPARED
    "logged-2pc": 3,  # PREPARE, the decision's row, COMMIT PREPARED
    "paxcommit-decided": 2,  # PREPARE, the votes
    "paxcommit-applied": 3,  # PREPARE, the votes, COMMIT PREPARED
}


def latency(system: System, each: Latency) -> float:
    """Seconds of a commit in which each step waits for a message's round trip and for one flush.

    The steps of all participants, and of all acceptors, run in parallel, so neither N nor F is in
    it: what they add is only that the slowest of several is waited for.
    """
    return _STEPS[system] * (each.round_trip + each.flush + each.work)
