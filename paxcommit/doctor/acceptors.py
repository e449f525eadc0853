"""Checks on acceptors: are they the ones of the epoch record, and do they remember? (R2, R13)"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paxcommit.doctor.checks import Check, Level
from paxcommit.errors import PaxcommitError
from paxcommit.inspection.records import Records
from paxcommit.inspection.sites import Failure, Site, Sites
from paxcommit.settings import Settings
from paxcommit.sql.epoch import EpochRecord
from paxcommit.sql.link import Hello, hello
from paxcommit.sql.marks import Marks

__all__ = ["check_acceptors", "check_quorum"]


async def check_acceptors(sites: Sites, records: Records) -> list[Check]:
    """Greet every acceptor under the record's digest, with everybody's marks."""
    marks = Marks()
    greetings: Mapping[Site, Hello | Failure] = {}
    named = records.authorities
    for _ in range(2):  # the second time with the marks that the others remember (trap 24b)
        greetings = await sites.each(named, lambda site: hello(named[site], marks))
    return [
        check
        for site, greeting in greetings.items()
        if site not in sites.unreachable
        for check in _judge(site, greeting)
    ]


def _judge(site: Site, greeting: Hello | Failure) -> Iterator[Check]:
    if not isinstance(greeting, Hello):
        yield Check(
            site.label,
            "acceptor identity",
            Level.PROBLEM,
            str(greeting),
            "Point the DSN back to the database that `paxcommit init` saw. A restored copy, a "
            "promoted standby or a rebuilt database must not vote in this epoch.",
        )
        return
    yield Check(site.label, "acceptor identity", Level.OK, "as in the epoch record")
    if greeting.lost_votes:
        yield Check(
            site.label,
            "votes",
            Level.DAMAGE,
            "it has lost votes that it once acknowledged",
            "It refuses for ever, rightly. Find out what put it back (a restored backup, fsync "
            "off); never let a second acceptor of this epoch be restored or failed over.",
        )
    else:
        yield Check(site.label, "votes", Level.OK, f"none lost (mark {greeting.mark})")


def check_quorum(settings: Settings, records: Records, usable: int) -> Iterator[Check]:
    """Check that F+1 acceptors hold one record and can be used.

    Args:
        settings: Say how many there should be.
        records: What they hold.
        usable: How many of them greeted us as the ones of the record, with all their votes.
    """
    count, majority = len(settings.acceptors), settings.majority
    record = records.record
    if record is None:
        held = {held for held in records.held.values() if isinstance(held, EpochRecord)}
        refusals = [held for held in records.held.values() if isinstance(held, PaxcommitError)]
        found = f"no record is held by {majority} acceptors; there are {len(held)} different ones"
        if not held:
            found = str(refusals[0]) if refusals else "no acceptor holds one"
        yield Check("cluster", "epoch record", Level.PROBLEM, found, "Run `paxcommit init`.")
    else:
        names = tuple(acceptor.name for acceptor in record.acceptors)
        if (record.cluster_name, names) == (settings.cluster, tuple(sorted(settings.acceptors))):
            yield Check(
                "cluster", "epoch record", Level.OK, f"epoch {record.epoch}, {record.digest}"
            )
        else:
            yield Check(
                "cluster",
                "epoch record",
                Level.PROBLEM,
                f"it is of cluster {record.cluster_name!r} with acceptors {', '.join(names)}",
                "Correct the settings: they name another cluster or other acceptors.",
            )
    found = f"{usable} of {count} acceptors can be used, {majority} are needed"
    if usable < majority:
        yield Check(
            "cluster",
            "majority",
            Level.PROBLEM,
            found,
            "Bring acceptors back: until then nothing commits, and transactions in doubt wait.",
        )
    elif usable < count:
        yield Check(
            "cluster",
            "majority",
            Level.WARNING,
            found,
            "Commits go on, but fewer acceptors may fail now than the settings provide for.",
        )
    elif settings.f == 0:
        yield Check(
            "cluster",
            "majority",
            Level.WARNING,
            found,
            "With one acceptor, its server is a single point of failure: use three.",
        )
    else:
        yield Check("cluster", "majority", Level.OK, found)
