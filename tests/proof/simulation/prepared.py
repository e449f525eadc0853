"""A prepared transaction of a simulated server."""

from __future__ import annotations

from dataclasses import dataclass

from paxcommit.ids import Gid
from tests.proof.simulation.postgres import Backend

__all__ = ["PreparedTx"]


@dataclass(slots=True, eq=False)
class PreparedTx:
    """One entry of ``pg_prepared_xacts``.

    Attributes:
        text: Its name.
        gid: What the name says; None: not one of ours.
        key: Of the branch row that it holds.
        busy: The backend that works on it.
        valid: Whether it is flushed, and so to be seen.
        confirmed: Whether a failover keeps it.
        back: Whether a failover brought it back.
        foreign: Whether nobody of this cluster may touch it.
    """

    text: str
    gid: Gid | None
    key: tuple[int, int] | None
    busy: Backend | None
    valid: bool = False
    confirmed: bool = False
    back: bool = False
    foreign: bool = False
