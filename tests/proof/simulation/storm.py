"""The stormy part of a run: work begins, faults strike, people ask, recoverers look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from paxcommit.ids import Gid
from paxcommit.protocol.messages import AcceptorName
from paxcommit.sql.branch import open_branch, prepare_branch
from tests.proof.simulation.acceptors import Acceptor
from tests.proof.simulation.coordinator import Coordinator, Job
from tests.proof.simulation.network import Connection, at_once, run_statements
from tests.proof.simulation.postgres import Tx
from tests.proof.simulation.process import Process
from tests.proof.simulation.recoverer import Recoverer

if TYPE_CHECKING:
    from tests.proof.simulation.world import World

__all__ = ["blow", "recoverer"]

_READS = (
    "reads", "reads declared", "reads serializable", "reads serializable fails",
    "reads serializable declared",
)  # fmt: skip
_NASTY = (
    "failed", "swallowed", "swallowed", "rolled back", "begun again", "serialization", "temp",
    "deferred fails", "warns",
)  # fmt: skip


def blow(world: World) -> None:
    """Let the storm blow."""
    pool, weather = world.pool, world.weather
    fault, look = weather.fault, weather.look
    begun = 0
    if "restore acceptor" in weather.faults:
        _copy(world)
    for _ in range(weather.steps):
        if begun < weather.transactions and (begun == 0 or pool.random() < 0.1):
            begun += 1
            begin(world)
        if fault and pool.random() < fault:
            strike(world)
        if look and pool.random() < look:
            somebody_looks(world)
        if not pool.step():
            if begun == weather.transactions:
                break
            begun += 1
            begin(world)


def begin(world: World) -> None:
    """Begin a transaction in some coordinator."""
    pool = world.pool
    alive = world.coordinators()
    if not alive or (len(alive) < 2 and pool.chance(0.1)):
        if any(isinstance(each, Coordinator) for each in world.processes) and not alive:
            world.marks.add("process: restarted as a new incarnation")
        coordinator = Coordinator(world, new_name(world, "c"))
        world.processes.append(coordinator)
    else:
        coordinator = pool.pick(alive)
    names = list(world.names)
    count = 1 + int(pool.random() * len(names)) if pool.chance(0.6) else len(names)
    while len(names) > count:
        names.pop(int(pool.random() * len(names)))
    before = len(world.started)
    coordinator.begin({name: _work(world) for name in names})
    others = [name for name in world.names if name not in names]
    if world.weather.unregistered and len(world.started) > before and pool.chance(0.5):
        who, txid = recoverer(world), world.started[-1].txid
        pool.soon.append(partial(who.post, partial(who.force, txid)))
    # R17: with a lone participant the context has not left the process.
    if world.weather.strays and len(names) > 1 and len(world.started) > before:
        _stray(world, world.started[-1], pool.pick(others or names))


def _work(world: World) -> str:
    pool = world.pool
    if pool.chance(world.weather.reads):
        return pool.pick(_READS)
    what = pool.pick(("writes", "writes", "writes", "writes hidden", "writes serializable"))
    return f"{what}:{pool.pick(_NASTY)}" if pool.chance(world.weather.nasty) else what


def _stray(world: World, job: Job, name: str) -> None:
    """A branch that its caller never hears of, as after a retried call to a service (R7)."""
    server = world.participants[name]
    if not world.reaches(job.process, server):
        return
    session = Connection(job.process, server)
    job.process.others.append(session)
    session.backend.tx = Tx()
    at_once(session, open_branch(job.txid))
    session.backend.tx.wrote = True
    gid = Gid(world.record.digest, job.txid, name, 5)
    job.process.say(f"leaves a stray branch of {job.txid} at {name}")
    run_statements(session, prepare_branch(gid, "app"), lambda _: session.close())


def new_name(world: World, kind: str) -> str:
    """Name a process; now and then its settings lead to another acceptor (R2)."""
    name = f"{kind}{len(world.processes) + 1}"
    if world.weather.impostor and not world.calm and world.pool.chance(0.4):
        who = world.pool.pick(world.record.acceptors)
        world.impostors[name, who.name] = _impostor(world, who.name)
    return name


def _impostor(world: World, name: AcceptorName) -> Acceptor:
    """What `init` made of it once more, under another record: the same uuid, nothing known."""
    (who,) = (each for each in world.record.acceptors if each.name == name)
    impostor = world.acceptor(who, digest="f" * 32)
    impostor.registry = dict(world.acceptors[name].registry)
    return impostor


def recoverer(world: World, *, fresh: bool = False) -> Recoverer:
    """Some recoverer that lives."""
    alive = world.recoverers()
    if fresh or not alive or (len(alive) < 2 and world.pool.chance(0.3)):
        process = Recoverer(world, new_name(world, "r"))
        world.processes.append(process)
        return process
    return world.pool.pick(alive)


def somebody_looks(world: World) -> None:
    """A sweep, a question, or a demand; now and then of two people at once."""
    draw = world.pool.random()
    txid = world.pool.pick(world.started).txid if world.started else None
    for who in {recoverer(world): None, **({recoverer(world): None} if draw < 0.4 else {})}:
        if draw < 0.3 or 0.4 <= draw < 0.65 or txid is None:
            who.post(who.look)
        else:
            who.post(partial(who.ask if draw > 0.9 else who.force, txid))


def impatience(world: World) -> None:
    """Something takes long, and somebody demands an outcome."""
    if not world.calm and world.started and world.pool.chance(0.4):
        who, txid = recoverer(world), world.pool.pick(world.started).txid
        world.pool.soon.append(partial(who.post, partial(who.force, txid)))


def worry(world: World) -> None:
    """A coordinator may be gone: a recoverer looks, soon or later."""
    if world.pool.chance(0.5):
        who = recoverer(world)
        queue = world.pool.pick((world.pool.soon, world.pool.later))
        queue.append(partial(who.post, who.look))


# --- faults -------------------------------------------------------------------------------------


def strike(world: World) -> None:
    """Let one of the seed's faults strike."""
    if not world.weather.faults:
        return
    pool = world.pool
    alive = [each for each in world.processes if each.alive]
    match pool.pick(world.weather.faults):
        case "die" if alive:
            pool.pick(alive).die()
            worry(world)
        case "stall" if alive:
            pool.pick(alive).stall()
        case "resume":
            for process in alive:
                process.resume()
        case "cut" if alive:
            _cut(world, pool.pick(alive))
            worry(world)
        case "mend":
            world.cuts.clear()
            for process in alive:
                process.post(process.reconnect)
        case "crash acceptor":
            server = pool.pick(list(world.acceptors.values()))
            server.crash()
            pool.later.append(server.start)
        case "crash participant":
            where = pool.pick(list(world.participants.values()))
            where.crash()
            pool.later.append(where.start)
        case "failover":
            where = pool.pick(list(world.participants.values()))
            where.failover()
            pool.later.append(where.start)
        case "kill backend":
            backends = list(pool.pick(list(world.participants.values())).backends.values())
            if backends:
                pool.pick(backends).terminate()
        case "kill link":
            backends = list(pool.pick(list(world.acceptors.values())).backends.values())
            if backends:
                pool.pick(backends).terminate()
        case "restore acceptor":
            _restore(world)
        case "seal":
            for acceptor in world.acceptors.values():
                acceptor.flush()  # it waits for every accept in flight (R11)
                acceptor.sealed = True
            pool.say("the epoch is sealed")
        case _:
            pass


def _cut(world: World, process: Process) -> None:
    """Cut one process off from one server, or from all of a kind; one way or both."""
    pool = world.pool
    how = pool.pick(("both", "both", "to", "from"))
    servers = pool.pick(
        (
            [pool.pick(list(world.acceptors))],
            [pool.pick(list(world.participants))],
            list(world.acceptors),
            list(world.participants),
        )
    )
    process.say(f"is cut off ({how}) from {', '.join(servers)}")
    for name in servers:
        world.cuts[process.name, name] = how
        server = world.server(process, name)
        for backend in list(server.backends.values()):  # tcp_user_timeout
            if backend.client is not None and backend.client.process is process:
                (pool.later if pool.chance(0.5) else pool.last).append(backend.terminate)


def _copy(world: World) -> None:
    acceptor = world.pool.pick(list(world.acceptors.values()))
    world.copies.append((acceptor, acceptor.copy()))
    world.pool.say(f"{acceptor.name} is copied")


def _restore(world: World) -> None:
    """Take a copy of an acceptor, or put one back (R13, trap 24b).

    Whoever remembers a later mark is the first to come back; without anybody nobody could notice,
    which the documentation says.
    """
    pool = world.pool
    if not world.copies or pool.chance(0.2):
        _copy(world)
        return
    if sum(each.restored for each in world.acceptors.values()) >= world.weather.f:
        return
    acceptor, copy = world.copies.pop()
    rememberers = [
        process
        for process in world.processes
        if process.alive
        and not process.stalled
        and process.told_marks.get(acceptor.name, 0) > cast(int, copy["own_mark"])
        and (process.name, acceptor.name) not in world.cuts
    ]
    if not rememberers:
        return
    acceptor.crash()
    acceptor.restore(copy)
    acceptor.start()
    pool.say(f"{acceptor.name} is put back from an old copy")
    first = pool.pick(rememberers)
    for link in list(first.links.values()):
        if link.server is acceptor:
            if link.connection is not None:
                link.connection.lost()
            link.connect()
