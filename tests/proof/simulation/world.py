"""A whole cluster in one seed: first a storm, then calm weather in which all must end well."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from paxcommit.ids import TxId
from paxcommit.protocol.recovery import Mandate
from paxcommit.protocol.values import Outcome
from paxcommit.protocol.watching import Case
from paxcommit.runtime.recovering import Sweep
from paxcommit.sql.epoch import AcceptorIdentity, EpochRecord
from tests.proof.simulation import healing, storm
from tests.proof.simulation.acceptors import Acceptor
from tests.proof.simulation.coordinator import Coordinator, Job
from tests.proof.simulation.participants import Participant
from tests.proof.simulation.pool import Pool
from tests.proof.simulation.postgres import Backend, Server
from tests.proof.simulation.prepared import PreparedTx
from tests.proof.simulation.process import Process
from tests.proof.simulation.recoverer import Recoverer
from tests.proof.simulation.truth import Truth
from tests.proof.simulation.weather import draw

if TYPE_CHECKING:
    from tests.proof.simulation.network import Connection

__all__ = ["BAD_LUCK", "World"]

BAD_LUCK = 0.5
"""How often a recoverer with work left loses the acceptors."""

_AGES: dict[str, tuple[float, ...]] = {
    "young": (0.1,),
    "settled": (2.0,),
    "old": (1e6,),
    "any": (-3.0, 0.1, 2.0, 1e6),
    "set back": (-3600.0,),
}


class World:
    """Everything there is.

    Args:
        seed: Decides everything that happens.
        trace: Whether to write down what happens.
    """

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self.seed = seed
        self.pool = pool = Pool(seed, [] if trace else None)
        self.marks: set[str] = set()
        self.weather = weather = draw(pool)
        self.calm = False
        self.cuts: dict[tuple[str, str], str] = {}
        self.processes: list[Process] = []
        self.started: list[Job] = []
        self.strays: list[Callable[[], None]] = []
        self.resolving: dict[TxId, int] = {}
        self.impostors: dict[tuple[str, str], Acceptor] = {}
        self.copies: list[tuple[Acceptor, dict[str, object]]] = []
        self.record = _record(2 * weather.f + 1)
        self.acceptor_names = tuple(each.name for each in self.record.acceptors)
        self.names = tuple(f"p{number}" for number in range(1, weather.n + 1))
        late = weather.unregistered and weather.n > 1
        self.registered = self.names[:-1] if late else self.names
        self.dsns = dict.fromkeys(self.acceptor_names, "")
        self.truth = Truth(len(self.acceptor_names))
        self.acceptors = {each.name: self.acceptor(each) for each in self.record.acceptors}
        for acceptor in self.acceptors.values():
            for name in self.registered:
                acceptor.registry[name] = (7_000 + int(name[1:]), "db")
        self.participants = {name: self._participant(name) for name in self.names}
        pool.haste = weather.haste

    # --- building -------------------------------------------------------------------------------

    def acceptor(self, who: AcceptorIdentity, digest: str = "") -> Acceptor:
        """Make an acceptor's server."""
        return Acceptor(
            self.pool,
            who.name + ("x" if digest else ""),
            self.marks,
            identity=who.identity,
            digest=digest or self.record.digest,
            peers=[each.identity for each in self.record.acceptors if each != who],
            truth=self.truth,
            counts=not digest,
        )

    def _participant(self, name: str) -> Participant:
        weather = self.weather
        foreign = self._foreign(name) if weather.foreign else []
        server = Participant(
            self.pool,
            name,
            self.marks,
            digest=self.record.digest,
            truth=self.truth,
            slots=weather.slots + len(foreign),
            synchronous=weather.synchronous,
            system_identifier=7_000 + int(name[1:]),
        )
        server.hang, server.disk_error, server.pause = weather.hang, weather.disk, weather.pause
        server.age = self.age
        server.when_slow = functools.partial(storm.impatience, self)
        for text in foreign:
            server.prepared[text] = PreparedTx(
                text, None, None, None, valid=True, confirmed=True, foreign=True
            )
        return server

    def _foreign(self, name: str) -> list[str]:
        """gids of others: of an application, of another cluster, and one that is misplaced."""
        ours, other = self.record.digest, "0" * 32
        return [
            "somebody else's",
            f"paxcommit:{other}:1-00000000000000aa-1:{name}:5",
            f"paxcommit:{ours}:1-00000000000000aa-2:elsewhere:5",
        ]

    # --- what processes and servers ask ---------------------------------------------------------

    def server(self, process: Process, name: str) -> Server:
        """Where a name of the settings leads, for that process."""
        if name in self.participants:
            return self.participants[name]
        return self.impostors.get((process.name, name), self.acceptors[name])

    def age(self) -> float:
        """How old a branch is, as a server's clock says: it may say anything."""
        if self.calm and self.weather.ages != "set back":
            return 1e9
        return self.pool.pick(_AGES[self.weather.ages])

    def reaches(self, process: Process, server: Server) -> bool:
        """Whether a connection can be opened."""
        return server.up and (process.name, server.name) not in self.cuts

    def fate(self, connection: Connection) -> str:
        """What becomes of a request and its answer: ``fine lost late mute``."""
        pool, server = self.pool, connection.server
        if not server.up:
            return "lost"
        if self.calm:
            return "fine"
        cut = self.cuts.get((connection.process.name, server.name))
        if cut is not None:
            return pool.pick({"both": ("lost", "late"), "to": ("late",), "from": ("mute",)}[cut])
        if pool.chance(self.weather.loss):
            return pool.pick(("lost", "late", "late", "mute"))
        return "fine"

    def linger(self, backend: Backend) -> None:
        """A client is gone; its backend notices soon, or much later."""
        late = not self.calm and self.pool.chance(self.weather.linger)
        (self.pool.last if late else self.pool.soon).append(backend.client_gone)

    def bad_luck(self, process: Recoverer) -> None:
        """Just when it has something left to do, the acceptors are out of its reach for a while."""
        if self.calm or not self.pool.chance(BAD_LUCK):
            return
        for name in self.acceptor_names:
            self.cuts[process.name, name] = "both"
        self.pool.soon.append(functools.partial(process.post, process.look))

    def saw_case(self, process: Recoverer, case: Case, found: Sweep) -> None:
        """A recoverer takes up a transaction: why?"""
        late = any(s.age >= s.deadline for s in found.seen if s.txid == case.txid)
        if late and all(s.age < 1e5 for s in found.seen if s.txid == case.txid):
            self.marks.add("recover: deadline passed by the recoverer's own clock")
        alive = any(
            isinstance(each, Coordinator)
            and each.alive
            and each.incarnation.coordinator == case.txid.coordinator
            for each in self.processes
        )
        if case.mandate is Mandate.LEARN:
            self.marks.add("recover: coordinator lives: only learns")
        elif not late:
            self.marks.add("recover: coordinator dead")
            if alive:
                self.marks.add("recover: coordinator taken for dead wrongly")
        elif alive:
            self.marks.add("recover: deadline passed while the coordinator lives")

    # --- the run --------------------------------------------------------------------------------

    def run(self) -> World:
        """Storm, heal, and demand that all ends well.

        Raises:
            Broken: See `Truth` and `healing`.
        """
        if self.pool.trace is not None:
            self.pool.say(f"seed {self.seed}: {self.weather}")
        storm.blow(self)
        healing.heal(self)
        return self

    def outcomes(self) -> list[str]:
        """What the owner of each transaction was told; ``untold`` if its process died first."""
        return [
            "untold" if job.facts.mine is None else _MIX[job.facts.mine] for job in self.started
        ]

    def coordinators(self) -> list[Coordinator]:
        """Those that live."""
        return [each for each in self.processes if isinstance(each, Coordinator) and each.alive]

    def recoverers(self) -> list[Recoverer]:
        """Those that live."""
        return [each for each in self.processes if isinstance(each, Recoverer) and each.alive]


_MIX = {Outcome.COMMITTED: "committed", Outcome.ABORTED: "aborted", Outcome.OPEN: "unknown"}


@functools.cache
def _record(count: int) -> EpochRecord:
    return EpochRecord(
        1,
        "0" * 32,
        "sim",
        tuple(
            AcceptorIdentity(f"a{number}", f"uuid-{number}", number, "db")
            for number in range(1, count + 1)
        ),
    )
