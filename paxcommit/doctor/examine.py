"""The whole examination: every server that answers, one after another in what, not in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from paxcommit.doctor.acceptors import check_acceptors, check_quorum
from paxcommit.doctor.checks import Check, Level
from paxcommit.doctor.participants import (
    check_damages,
    check_membership,
    check_prepared,
    check_probe,
    check_registration,
)
from paxcommit.doctor.probe import probe
from paxcommit.doctor.server import check_server
from paxcommit.inspection.facts import ServerFacts, read_facts
from paxcommit.inspection.installed import missing_grants
from paxcommit.inspection.records import Records, read_all_records
from paxcommit.inspection.sites import Failure, Site, SiteKind, Sites, open_sites
from paxcommit.ports import AsyncDriver
from paxcommit.settings import Settings
from paxcommit.sql.finish import prepared_branches
from paxcommit.sql.link import registered_participants
from paxcommit.sql.participant import damages, participant_epochs
from paxcommit.sql.schema import check_schema

__all__ = ["examine"]

_T = TypeVar("_T")

_SKEW = 1.0
"""Seconds between two clocks that are worth a word."""

_NEEDED = {
    SiteKind.ACCEPTOR: (
        *("hello", "holders", "learn", "participants", "phase1a", "phase2a", "records"),
        *("register_participant", "schema_version"),
    ),
    SiteKind.PARTICIPANT: (
        *("branch", "branch_kind", "damages", "fence", "fence_blockers", "participant_epochs"),
        *("record_damage", "schema_version", "terminate_blocker", "wrote"),
    ),
}


async def examine(settings: Settings, driver: AsyncDriver) -> list[Check]:
    """Examine a cluster; what is down is reported, and the rest examined all the same.

    Args:
        settings: Name the cluster.
        driver: To connect with.
    """
    async with open_sites(settings, driver) as sites:
        return await _Examination(settings, sites).run()


class _Examination:
    def __init__(self, settings: Settings, sites: Sites) -> None:
        self._settings = settings
        self._sites = sites
        self._checks: list[Check] = []
        self._up = [site for site in sites.all if site not in sites.unreachable]
        self._facts: dict[Site, ServerFacts] = {}

    async def run(self) -> list[Check]:
        for site in self._sites.all:
            self._checks.append(_reachable(site, self._sites.unreachable.get(site)))
        await self._servers()
        await self._schemas()
        records = await read_all_records(self._settings, self._sites)
        acceptors = await check_acceptors(self._sites, records)
        sound = [check.subject for check in acceptors if check.name == "votes"]
        lost = [check.subject for check in acceptors if check.level is Level.DAMAGE]
        self._checks += acceptors
        await self._participants(records)
        self._checks += check_quorum(self._settings, records, len(sound) - len(lost))
        return self._checks

    async def _servers(self) -> None:
        measured = await asyncio.gather(*(self._measure(site) for site in self._up))
        for site, answer in zip(self._up, measured, strict=True):
            if isinstance(answer, tuple):
                facts, skew, uncertain = answer
                self._facts[site] = facts
                self._checks += check_server(site, facts)
                self._checks.append(_clock(site, skew, uncertain))
            else:
                self._checks.append(_no_answer(site, "server", answer))

    async def _measure(self, site: Site) -> tuple[ServerFacts, float, float] | Failure:
        """Read the facts, and how far the server's clock is from ours, give or take."""
        before = time.time()
        answer = (await self._sites.each([site], lambda each: read_facts(each.role)))[site]
        after = time.time()
        if not isinstance(answer, ServerFacts):
            return answer
        return answer, answer.clock - (before + after) / 2, (after - before) / 2

    async def _schemas(self) -> None:
        versions = await self._sites.each(self._up, lambda _: check_schema())
        fit = []
        for site, answer in versions.items():
            if answer is None:
                fit.append(site)
                self._checks.append(Check(site.label, "schema version", Level.OK, "fits"))
            else:
                self._checks.append(
                    Check(site.label, "schema version", Level.PROBLEM, str(answer), _INIT)
                )
        known = [site for site in fit if site in self._facts]
        for site in known:
            self._checks += _role(site, self._facts[site])
        usable = [site for site in known if self._facts[site].role_exists]
        missing = await self._sites.each(
            usable, lambda site: missing_grants(site.role, _NEEDED[site.kind])
        )
        self._checks += [_grants(site, answer) for site, answer in missing.items()]

    async def _participants(self, records: Records) -> None:
        record = records.best
        here = [site for site in self._sites.participants if site in self._facts]
        probes = await self._sites.each(here, lambda site: probe(site.role))
        self._checks += [check_probe(site, answer) for site, answer in probes.items()]

        found = self._good("prepared", await self._sites.each(here, lambda _: prepared_branches()))
        for site, branches in found.items():
            digest = record.digest if record else None
            self._checks += check_prepared(site, self._facts[site], digest, branches)
        if record is None:
            return
        epochs = self._good(
            "membership", await self._sites.each(here, lambda _: participant_epochs())
        )
        for site, rows in epochs.items():
            self._checks += check_membership(site, record, rows)
        taking_part = [site for site, rows in epochs.items() if rows]
        written = self._good("damage", await self._sites.each(taking_part, lambda _: damages()))
        for site, rows_of_damage in written.items():
            self._checks += check_damages(site, rows_of_damage)
        named = records.authorities
        registries = await self._sites.each(
            named, lambda site: registered_participants(named[site])
        )
        self._checks += [
            check_registration(site, self._facts[site], registries, self._settings.majority)
            for site in here
        ]

    def _good(
        self, name: str, answers: Mapping[Site, Sequence[_T] | Failure]
    ) -> dict[Site, Sequence[_T]]:
        """Keep the answers, and report the failures."""
        good: dict[Site, Sequence[_T]] = {}
        for site, answer in answers.items():
            if isinstance(answer, Sequence):
                good[site] = answer
            else:
                self._checks.append(_no_answer(site, name, answer))
        return good


_INIT = "Run `paxcommit init`, with the newest paxcommit in use."


def _reachable(site: Site, failure: Failure | None) -> Check:
    if failure is None:
        return Check(site.label, "reachable", Level.OK, str(site.address))
    return Check(
        site.label,
        "reachable",
        Level.PROBLEM,
        f"{site.address}: {failure}",
        "Start the server, or correct DSN, network or pg_hba.conf.",
    )


def _no_answer(site: Site, name: str, failure: Failure) -> Check:
    return Check(site.label, name, Level.PROBLEM, str(failure), "Look into the server's log.")


def _clock(site: Site, skew: float, uncertain: float) -> Check:
    found = f"{skew:+.3f} s from this machine's (±{uncertain:.3f})"
    if abs(skew) - uncertain < _SKEW:
        return Check(site.label, "clock", Level.OK, found)
    return Check(
        site.label,
        "clock",
        Level.WARNING,
        found,
        "Nothing that is decided depends on a clock, but logs will not line up: run NTP.",
    )


def _role(site: Site, facts: ServerFacts) -> Iterator[Check]:
    role = site.role or facts.user
    if not facts.role_exists:
        yield Check(
            site.label,
            "role",
            Level.PROBLEM,
            f"there is no role {role}",
            "Create it, or correct `role` in the settings.",
        )
    elif not facts.role_member:
        yield Check(
            site.label,
            "role",
            Level.PROBLEM,
            f"{facts.user} is no member of {role}",
            f"GRANT {role} TO {facts.user}, or no branch can be prepared as {role} (R18).",
        )
    else:
        yield Check(site.label, "role", Level.OK, role)


def _grants(site: Site, missing: list[str] | Failure) -> Check:
    if not isinstance(missing, list):
        return _no_answer(site, "grants", missing)
    if not missing:
        return Check(site.label, "grants", Level.OK, "all functions that are needed")
    return Check(
        site.label,
        "grants",
        Level.PROBLEM,
        f"may not execute {', '.join(missing)}",
        "Run `paxcommit init --role ROLE` as the schema's owner.",
    )
