"""A recoverer process: sweeps, questions and forced outcomes, with the product's code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from paxcommit.ids import TxId
from paxcommit.protocol.recovery import RecoveryMachine
from paxcommit.protocol.values import Outcome
from paxcommit.protocol.watching import Sightings
from paxcommit.reports import Resolved
from paxcommit.resolving import Unfinished, asked, forced, from_case, look_for_one_phase
from paxcommit.runtime.recovering import Sweep, operate, sweep
from tests.proof.simulation.driving import Driving, run_plan
from tests.proof.simulation.process import SETTINGS, Process
from tests.proof.simulation.watches import RecoveryWatch

if TYPE_CHECKING:
    from tests.proof.simulation.world import World

__all__ = ["Recoverer"]


class Recoverer(Process):
    """``paxcommit recover --watch``, or whoever asks ``outcome``.

    Args:
        world, name: See `Process`.
    """

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, None)
        self.unfinished = Unfinished()
        self.sightings = Sightings()
        self.clock = 0.0
        self.busy: set[TxId] = set()
        self.owes: dict[TxId, None] = {}
        self.looking = False
        self.forced: dict[TxId, Resolved] = {}

    def look(self) -> None:
        """One sweep, and what follows from it."""
        if self.looking or not self.alive:
            return
        self.looking = True
        self.say("looks")
        self.clock += 10.0 if self.world.calm else self.world.pool.pick((0.1, 0.5, 6.0))
        looking = sweep(self.members, tuple(self.members.sites), self.sightings, self.clock)
        run_plan(looking, self.perform, self._found)

    def _found(self, found: Any) -> None:
        self.looking = False
        if isinstance(found, Exception):
            return
        assert isinstance(found, Sweep)
        if found.foreign:
            self.world.marks.add("recover: foreign gid reported")
        cases = {case.txid for case in found.cases}
        for case in self.unfinished.beside(found.cases):
            if case.txid not in cases:
                self.world.marks.add("fence: missing, taken up again")
            if case.txid not in self.busy:
                self.busy.add(case.txid)
                self.world.saw_case(self, case, found)
                machine = from_case(case, SETTINGS, self.members)
                self._drive(machine, f"{case.mandate.name}", case.seen)

    def force(self, txid: TxId) -> None:
        """``outcome --force``."""
        self.say(f"forces {txid}")
        run_plan(self.members.registered(), self.perform, lambda names: self._force(txid, names))

    def _force(self, txid: TxId, names: Any) -> None:
        if isinstance(names, Exception):
            self.world.marks.add("force: fewer than a quorum answers")
            return
        self._drive(forced(txid, SETTINGS, self.members, names), "FORCE")

    def ask(self, txid: TxId) -> None:
        """``outcome``."""
        self.say(f"asks for {txid}")
        self._drive(asked(txid, SETTINGS, self.members), "ASK")

    def _drive(
        self, machine: RecoveryMachine, kind: str, seen: Mapping[str, int] | None = None
    ) -> None:
        watch = RecoveryWatch(self.world, self, machine, kind)
        self.world.resolving[machine.txid] = self.world.resolving.get(machine.txid, 0) + 1
        if self.world.resolving[machine.txid] > 1:
            self.world.marks.add("recover: two at once")
        Driving(
            self,
            f"{self.name}/{machine.txid.seq} {kind}",
            machine,
            lambda effect: operate(effect, machine.txid, self.members, seen or {}),
            self.perform,
            abandon=lambda _: None,
            tell=lambda tell: self.world.truth.tell(machine.txid, tell.outcome),
            watch=watch,
            over=lambda: self._over(machine, kind, watch),
        ).start()

    def _over(self, machine: RecoveryMachine, kind: str, watch: RecoveryWatch) -> None:
        txid = machine.txid
        self.world.resolving[txid] -= 1
        self.busy.discard(txid)
        resolved = Resolved.of(machine)
        self.say(f"is done with {txid}: {resolved.outcome}; {resolved.reason}")
        watch.over(resolved)
        for name, damage in resolved.damage.items():
            self.world.truth.report(txid, name, damage)
        open_at = {**resolved.unapplied, **resolved.damage}
        applied = [name for name in self.members.sites if name not in open_at]
        if kind != "ASK":
            self.world.truth.applied(txid, resolved.outcome, applied, fenced=True)
        if kind == "ASK":
            if resolved.outcome is Outcome.OPEN:
                run_plan(look_for_one_phase(resolved, self.members), self.perform, self._asked)
            return
        self.unfinished.note(resolved)
        if resolved.outcome is not Outcome.OPEN:  # open: it could not be asked, and owes it still
            self.owes.pop(txid, None)
            if resolved.unapplied:
                self.owes[txid] = None
                self.world.bad_luck(self)
        if kind == "FORCE":
            self.forced[txid] = resolved

    def _asked(self, resolved: Any) -> None:
        if isinstance(resolved, Exception):
            return
        if resolved.outcome is Outcome.COMMITTED:
            self.world.marks.add("recover: asked for a one-phase outcome")
        self.world.truth.tell(resolved.txid, resolved.outcome)
