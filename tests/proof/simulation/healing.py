"""Calm weather: everything must be decided, applied and unlocked, and everybody told the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paxcommit.ids import TxId
from paxcommit.protocol.values import Outcome
from tests.proof.simulation import storm
from tests.proof.simulation.recoverer import Recoverer
from tests.proof.simulation.truth import Broken, Facts

if TYPE_CHECKING:
    from tests.proof.simulation.world import World

__all__ = ["heal"]

_STEPS = 20_000
_ROUNDS = 6
_LOOKS = 300
"""More than the sweeps for which `Unfinished` leaves a transaction alone."""
_PATIENCE = 300


def heal(world: World) -> None:
    """See the module.

    Raises:
        Broken: It does not end well.
    """
    world.calm = True
    world.pool.haste = 0.0
    world.pool.say("--- the storm is over")
    world.cuts.clear()
    servers = [*world.acceptors.values(), *world.participants.values()]
    for participant in world.participants.values():
        participant.hang = participant.disk_error = participant.pause = 0.0
    for server in servers:
        server.start()
    for process in world.processes:
        process.resume()
        process.post(process.reconnect)
    _settle(world)
    healer = _healer(world)
    healer.reconnect()  # what was asked of a link while it was down has failed at once
    for count in range(_LOOKS):
        healer.look()
        _settle(world)
        if not healer.owes and (count > _ROUNDS or not _gids(world)):
            break
    if healer.owes:
        raise Broken(f"{healer.name} has forgotten what it could not apply: {list(healer.owes)}")
    if left := _gids(world):
        raise Broken(f"gids are left after healing: {left}")
    asked: set[TxId] = set()
    for job in world.started:
        # What has come to its end already is asked for now and then only: it costs the most.
        if not _over(job.facts) or world.pool.chance(0.35):
            asked.add(job.txid)
            healer.force(job.txid)
            _settle(world)
    healer.look()
    _settle(world)
    _judge(world, healer, asked)


def _healer(world: World) -> Recoverer:
    """A new recoverer, or one that has gone through the storm and remembers what it saw."""
    misled = {process for process, _ in world.impostors}
    veterans = [each for each in world.recoverers() if each.name not in misled]
    if veterans and world.pool.chance(0.5):
        world.marks.add("recover: a recoverer of the storm finishes everything")
        return world.pool.pick(veterans)
    return storm.recoverer(world, fresh=True)


def _over(facts: Facts) -> bool:
    """Whether nothing is left to decide or to apply."""
    if "only" in facts.rows.values():
        return True
    if not facts.votes:
        return facts.mine is Outcome.ABORTED
    return not facts.injected and all(facts.rows.get(name) == "branch" for name in facts.names)


def _settle(world: World) -> None:
    """Go on until nothing is under way; deadlines come when nothing else happens, or very late."""
    for count in range(1, _STEPS):
        if count % _PATIENCE == 0:  # whoever backs off for ever does not stop the clock
            world.pool.time_passes()
        if not world.pool.step():
            return
    raise Broken("it never ends")


def _gids(world: World) -> list[str]:
    return [
        f"{server.name}: {branch.text}"
        for server in world.participants.values()
        for branch in server.prepared.values()
        if not branch.foreign
    ]


def _judge(world: World, healer: Recoverer, asked: set[TxId]) -> None:
    for job in world.started:
        facts = job.facts
        if job.process.alive and facts.mine is None:
            raise Broken(f"{facts.txid}: its owner was never told anything")
        if facts.txid not in asked:
            _rows(world, facts, set(), fenced=False)
            continue
        resolved = healer.forced.get(facts.txid)
        if resolved is None:
            raise Broken(f"{facts.txid}: the forced outcome never ended")
        damaged = facts.injected & set(facts.names)
        if resolved.outcome is Outcome.OPEN:
            raise Broken(f"{facts.txid} is open after healing: {resolved.reason}")
        if (resolved.outcome is Outcome.COMMITTED) != facts.committed:
            raise Broken(f"{facts.txid}: told {resolved.outcome}, and it is {facts.decided}")
        if resolved.unapplied:
            raise Broken(f"{facts.txid} is not applied after healing: {resolved.unapplied}")
        _rows(world, facts, damaged)
    _nothing_left(world)


def _rows(world: World, facts: Facts, damaged: set[str], *, fenced: bool = True) -> None:
    key = (facts.txid.coordinator, facts.txid.seq)
    rows = {name: server.ledger.get(key) for name, server in world.participants.items()}
    if facts.decided is Outcome.COMMITTED:
        for name in facts.names:
            if name in damaged and rows[name] != "branch":
                if facts.reported.get(name) != "lost-branch":
                    raise Broken(f"{facts.txid}: {name} lost its branch, and nobody says so")
                if (str(facts.txid), "lost-branch") not in world.participants[name].damage:
                    raise Broken(f"{facts.txid}: damage at {name} is not written down")
            elif rows[name] != "branch":
                raise Broken(f"{facts.txid} is committed, {name} has {rows[name]}")
    elif fenced and "only" not in rows.values():
        bare = [name for name in world.names if rows[name] != "fence"]
        if bare:
            raise Broken(f"{facts.txid} is aborted, and {bare} are not fenced")
    strangers = [name for name, row in rows.items() if row == "branch" and name not in facts.names]
    if strangers:
        raise Broken(f"{facts.txid} is committed at {strangers}, outside J")


def _nothing_left(world: World) -> None:
    for server in world.participants.values():
        if server.holders:
            raise Broken(f"{server.name} still has rows locked: {list(server.holders)}")
        foreign = sum(branch.foreign for branch in server.prepared.values())
        if foreign != (3 if world.weather.foreign else 0):
            raise Broken(f"{server.name}: a foreign gid is gone")
        for backend in server.backends.values():
            if backend.tx is not None:
                raise Broken(f"{server.name}: backend {backend.pid} is idle in a transaction")
