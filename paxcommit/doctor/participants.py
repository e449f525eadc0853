"""Checks on participants: may we prepare and finish there, and what is left lying there?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from paxcommit.doctor.checks import Check, Level
from paxcommit.inspection.facts import ServerFacts
from paxcommit.inspection.prepared import Kind, kind_of
from paxcommit.inspection.sites import Failure, Site
from paxcommit.sql.epoch import EpochRecord
from paxcommit.sql.finish import PreparedBranch
from paxcommit.sql.link import RegisteredParticipant
from paxcommit.sql.participant import ParticipantEpoch, RecordedDamage

__all__ = [
    "check_damages",
    "check_membership",
    "check_prepared",
    "check_probe",
    "check_registration",
]

_GRACE = 10.0
"""Seconds past its deadline after which somebody should have finished a branch (or a probe)."""


def check_membership(
    site: Site, record: EpochRecord, epochs: Sequence[ParticipantEpoch]
) -> Iterator[Check]:
    """Check that the database takes part in the epoch, under this name (R31)."""
    for row in epochs:
        if (row.epoch, row.digest, row.participant) == (record.epoch, record.digest, site.name):
            yield Check(site.label, "membership", Level.OK, f"takes part in epoch {row.epoch}")
            return
    others = ", ".join(f"{row.participant} of {row.digest}" for row in epochs)
    yield Check(
        site.label,
        "membership",
        Level.PROBLEM,
        f"takes part in another cluster: {others}" if epochs else "takes part in no epoch",
        "Correct the DSN." if epochs else "Run `paxcommit init`.",
    )


def check_registration(
    site: Site,
    facts: ServerFacts,
    registries: Mapping[Site, Sequence[RegisteredParticipant] | Failure],
    majority: int,
) -> Check:
    """Check that F+1 acceptors know the participant as this very database (R2)."""
    us = RegisteredParticipant(site.name, int(facts.system_identifier), facts.database)
    known = [registry for registry in registries.values() if isinstance(registry, Sequence)]
    count = sum(us in registry for registry in known)
    if any(each.name == us.name and each != us for registry in known for each in registry):
        return Check(
            site.label,
            "registration",
            Level.PROBLEM,
            "the acceptors know another database under this name",
            "Point the DSN back to that database, or give this one another name.",
        )
    if count >= majority:
        return Check(site.label, "registration", Level.OK, f"known to {count} acceptors")
    level = Level.PROBLEM if len(known) >= majority else Level.WARNING
    return Check(
        site.label,
        "registration",
        level,
        f"known to {count} of the {len(known)} acceptors that answered",
        "Run `paxcommit init` (a coordinator does it as well, before its first transaction).",
    )


def check_probe(site: Site, answer: str | Failure) -> Check:
    """Judge what came of preparing and rolling back."""
    if isinstance(answer, str):
        return Check(
            site.label, "prepare and roll back", Level.OK, f"works; {answer} owns what is prepared"
        )
    return Check(
        site.label,
        "prepare and roll back",
        Level.PROBLEM,
        str(answer),
        "No transaction can be prepared and finished there: repair what the message says.",
    )


def check_prepared(
    site: Site, facts: ServerFacts, digest: str | None, branches: Sequence[PreparedBranch]
) -> Iterator[Check]:
    """Sort the prepared transactions of the database: ours, foreign, orphaned, misspelt."""
    ours = [branch for branch in branches if kind_of(branch, digest, site.name) is Kind.OURS]
    others = [branch for branch in branches if kind_of(branch, digest, site.name) is Kind.OTHER]
    yield Check(
        site.label,
        "prepared transactions",
        Level.OK,
        f"{len(ours)} of this cluster, {len(others)} of other software",
    )
    for branch in branches:
        kind = kind_of(branch, digest, site.name)
        if kind is Kind.OURS:
            yield from _check_ours(site, facts, branch)
        elif kind is Kind.PROBE and branch.age < _GRACE:
            pass  # another doctor is at work
        elif kind is not Kind.OTHER:
            yield _stranger(site, kind, branch)


def _check_ours(site: Site, facts: ServerFacts, branch: PreparedBranch) -> Iterator[Check]:
    deadline = branch.gid.deadline if branch.gid else 0
    if branch.age > deadline + _GRACE:
        yield Check(
            site.label,
            "orphaned gid",
            Level.PROBLEM,
            f"{branch.text} is prepared for {branch.age:.0f} s, {branch.age - deadline:.0f} s past "
            f"its deadline",
            "Is `paxcommit recover --watch` running? Run `paxcommit recover`, then `paxcommit "
            "explain` if it stays.",
        )
    finisher = site.role or facts.user
    if branch.owner != finisher and not facts.superuser:
        yield Check(
            site.label,
            "owner of a gid",
            Level.PROBLEM,
            f"{branch.text} belongs to {branch.owner}, and {finisher} may not finish it",
            f"Set role = {branch.owner!r} for this participant, the same for everybody who uses it "
            f"(R18).",
        )


def _stranger(site: Site, kind: Kind, branch: PreparedBranch) -> Check:
    found = f"{branch.text!r}, {kind.value}, prepared for {branch.age:.0f} s"
    match kind:
        case Kind.PROBE:
            advice = f"A doctor died here. As {branch.owner}: ROLLBACK PREPARED '{branch.text}'"
        case Kind.FOREIGN:
            advice = "Never touched by this cluster's recovery; its own cluster has to finish it."
        case Kind.MISPLACED:
            advice = "Never touched: somebody uses this database under another participant's name."
        case _:
            advice = "Never touched: no paxcommit spells a gid like that."
    level = Level.PROBLEM if kind is Kind.MISPLACED else Level.WARNING
    return Check(site.label, "foreign gid", level, found, advice)


def check_damages(site: Site, damages: Sequence[RecordedDamage]) -> Iterator[Check]:
    """Report what recovery wrote down as damage."""
    if not damages:
        yield Check(site.label, "damage", Level.OK, "none recorded")
    for each in damages:
        yield Check(
            site.label,
            "damage",
            Level.DAMAGE,
            f"{each.txid}, {each.participant}, {each.damage.what}: {each.damage.detail} "
            f"({each.detected_at})",
            f"Compare the databases by hand; `paxcommit explain {each.txid}` tells what was "
            f"decided.",
        )
