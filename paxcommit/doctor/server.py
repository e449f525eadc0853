"""Checks on a server by itself: settings, role, slots, version (traps 12, 15, 16 and 19)."""

from __future__ import annotations

from collections.abc import Iterator

from paxcommit.doctor.checks import Check, Level
from paxcommit.inspection.facts import ServerFacts
from paxcommit.inspection.sites import Site, SiteKind

__all__ = ["check_server"]

_OLDEST_TESTED = 150_000
_OLDEST_WORKING = 130_000
_CROWDED = 0.8


def check_server(site: Site, facts: ServerFacts) -> Iterator[Check]:
    """Check what a server says of itself."""
    yield from _version(site, facts)
    if facts.in_recovery:
        yield Check(
            site.label,
            "recovery state",
            Level.PROBLEM,
            "a standby",
            "Name the primary in the settings: a standby shows no prepared transactions and takes "
            "no votes.",
        )
    else:
        yield Check(site.label, "recovery state", Level.OK, "a primary")
    for name, on in (("fsync", facts.fsync), ("full_page_writes", facts.full_page_writes)):
        if on:
            yield Check(site.label, name, Level.OK, "on")
        else:
            forgets = "votes" if site.kind is SiteKind.ACCEPTOR else "prepared branches"
            yield Check(
                site.label, name, Level.PROBLEM, "off", f"Turn it on: a crash would lose {forgets}."
            )
    yield Check(
        site.label,
        "synchronous_commit",
        Level.OK,
        f"{facts.synchronous_commit} (votes and branch rows force it on)",
    )
    if site.kind is SiteKind.PARTICIPANT:
        yield _orphan_timeout(site, facts)
        yield _slots(site, facts)


def _version(site: Site, facts: ServerFacts) -> Iterator[Check]:
    level, advice = Level.OK, ""
    if facts.version_num < _OLDEST_WORKING:
        level, advice = (
            Level.PROBLEM,
            "Upgrade: paxcommit needs PostgreSQL 13, and is tested on 15.",
        )
    elif facts.version_num < _OLDEST_TESTED:
        level, advice = Level.WARNING, "paxcommit is tested on PostgreSQL 15 to 18."
    yield Check(site.label, "server version", level, facts.version, advice)


def _orphan_timeout(site: Site, facts: ServerFacts) -> Check:
    name = "prepared_orphaned_transaction_timeout"
    if facts.orphan_timeout in ("", "0"):
        return Check(site.label, name, Level.OK, "off")
    return Check(
        site.label,
        name,
        Level.PROBLEM,
        facts.orphan_timeout,
        "Set it to 0: the server would roll back branches that are decided to be committed.",
    )


def _slots(site: Site, facts: ServerFacts) -> Check:
    name = "max_prepared_transactions"
    found = f"{facts.slots_used} of {facts.slots} used"
    if facts.slots == 0:
        return Check(
            site.label,
            name,
            Level.PROBLEM,
            "0",
            "Set it to at least the number of concurrent transactions and restart the server (its "
            "standbys first).",
        )
    if facts.slots_used >= facts.slots:
        return Check(
            site.label,
            name,
            Level.PROBLEM,
            found,
            "Nothing more can be prepared: see below whose they are, run `paxcommit recover`, or "
            "raise it and restart the server.",
        )
    if facts.slots_used >= _CROWDED * facts.slots:
        return Check(site.label, name, Level.WARNING, found, "Raise it before it is full.")
    return Check(site.label, name, Level.OK, found)
