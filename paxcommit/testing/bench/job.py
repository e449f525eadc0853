"""What a measuring process is told, and what it tells: JSON, one line each.

DSNs go through a pipe, not the command line, which everybody on the machine can read (trap 34).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "Block",
    "Blocked",
    "Doubt",
    "Doubted",
    "Job",
    "Measure",
    "Measured",
    "Message",
    "Opened",
    "decode",
    "encode",
]


@dataclass(frozen=True, slots=True)
class Job:
    """Which system to open.

    Attributes:
        driver, system: See `paxcommit.testing.bench.cells`.
        participants: DSNs.
        log: DSN of the database for decision rows.
        settings: For paxcommit, as in ``paxcommit.toml``.
        pool_size: Connections per participant at most.
    """

    driver: str
    system: str
    participants: list[str]
    log: str
    settings: dict[str, Any]
    pool_size: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Work for `warm` seconds and until every client has committed, then for `seconds` that count.

    Attributes:
        clients: At the same time.
        warm, seconds: In seconds.
        profile: Whether to tell where the CPU goes (asyncio only), which slows it down.
    """

    clients: int
    warm: float
    seconds: float
    profile: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Commit so many transactions one after the other."""

    transactions: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The system is open.

    Attributes:
        loop: Which event loop.
    """

    loop: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a `Measure`.

    Attributes:
        commits: Transactions that ended within the time that counts.
        seconds: How long that was.
        cpu: Seconds of this process's CPU meanwhile.
        p50, p99: Of the commit's latency, in seconds.
        profile: Where the CPU went, the worst first: function, its own share, and with what it
            calls.
        packages: The same by package: its share, without what it calls.
    """

    commits: int
    seconds: float
    cpu: float
    p50: float
    p99: float
    profile: list[tuple[str, float, float]] = field(default_factory=list)
    packages: list[tuple[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A `Block` is done."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Prepare so many transactions everywhere, cast the votes of every other one, and stop.

    Attributes:
        transactions: How many.
        connections: Per participant.
        first_row: The row that the first one updates; the others take those after it.
    """

    transactions: int
    connections: int
    first_row: int = 0


@dataclass(frozen=True, slots=True)
class Doubted:
    """A `Doubt` is done."""


Message: TypeAlias = Job | Measure | Block | Doubt | Opened | Measured | Blocked | Doubted

_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (Job, Measure, Block, Doubt, Opened, Measured, Blocked, Doubted)
}


def encode(message: Message) -> str:
    """One line, with its end."""
    return json.dumps([type(message).__name__, asdict(message)]) + "\n"


def decode(line: str) -> Message:
    """What `encode` made."""
    name, fields = json.loads(line)
    return _KINDS[name](**fields)
