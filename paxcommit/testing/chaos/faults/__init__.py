"""The kinds of fault, each with the proof that it really fired."""

from __future__ import annotations

from collections.abc import Mapping

from paxcommit.testing.chaos.faults import (
    disks,
    exhaustion,
    forcing,
    hands,
    kills,
    links,
    pauses,
    restoring,
    servers,
)
from paxcommit.testing.chaos.faults.fault import Kind, Occurrence, make

__all__ = ["KINDS", "SENTENCES", "Kind", "Occurrence", "make"]

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kinds in (
        kills.KINDS,
        pauses.KINDS,
        forcing.KINDS,
        hands.KINDS,
        links.KINDS,
        servers.KINDS,
        disks.KINDS,
        exhaustion.KINDS,
        restoring.KINDS,
    )
    for kind in kinds
}
"""By name."""

SENTENCES: Mapping[str, str] = {name: kind.sentence for name, kind in KINDS.items()}
"""What each kind does, for people."""
