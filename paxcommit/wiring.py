"""From settings to the runtime's own terms."""

from __future__ import annotations

from paxcommit.runtime.membership import Membership, Site
from paxcommit.runtime.timing import Timing
from paxcommit.settings import Settings

__all__ = ["acceptor_dsns", "make_membership", "make_timing"]


def make_membership(settings: Settings, coordinator: int | None) -> Membership:
    """Whom the settings name; `coordinator` is the incarnation, None for a mere recoverer."""
    sites = {
        name: Site(participant.dsn.get_secret_value(), participant.role)
        for name, participant in settings.participants.items()
    }
    return Membership(settings.cluster, tuple(settings.acceptors), sites, coordinator)


def make_timing(settings: Settings) -> Timing:
    """How long the settings allow things to take."""
    return Timing(connect=settings.connect_timeout, acceptor=settings.acceptor_timeout)


def acceptor_dsns(settings: Settings) -> dict[str, str]:
    """The acceptors' DSNs, by name; secret."""
    return {name: dsn.get_secret_value() for name, dsn in settings.acceptors.items()}
