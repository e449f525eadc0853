"""Who plays: the machines of a scope, and what a dead coordinator left under way."""

from __future__ import annotations

from collections.abc import Iterator

from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.coordinator import CommitMachine, Terms
from paxcommit.protocol.messages import Phase2a
from paxcommit.protocol.recovery import Mandate, RecoveryMachine
from paxcommit.protocol.values import REGISTRAR, Instance, ParticipantSet, Value, Vote
from tests.proof.model.leaders import BareLeader
from tests.proof.model.processes import Machine
from tests.proof.model.scope import Scope
from tests.proof.model.services import Root, Service

__all__ = ["TXID", "Cast"]

TXID = TxId(1, 0xC0FFEE, 1)


class Cast:
    """See the module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.acceptors = tuple(f"a{n}" for n in range(1, scope.acceptors + 1))
        self.participants = tuple(sorted(scope.works))

    def beginners(self) -> Iterator[tuple[str, Machine]]:
        """Who is there from the beginning."""
        scope = self._scope
        match scope.coordinator:
            case "machine":
                hedge = 1.0 if scope.hedges else 0.0
                terms = Terms(self.acceptors, deadline=1.0, finish=1.0, hedge=hedge)
                machine = CommitMachine(
                    TXID, list(self.participants), terms, one_phase=scope.one_phase
                )
                yield "coordinator", machine
            case "services":
                known = [name for name in self.participants if scope.works[name] != "stranger"]
                yield "root", Root(TXID, self.acceptors, known, dies=scope.root_dies)
                for name in self.participants:
                    yield f"service of {name}", Service(TXID, self.acceptors, name)
            case _:
                pass

    def estate(self) -> tuple[list[str], list[Phase2a]]:
        """Who is prepared, and what is under way, if the coordinator died after its votes."""
        wrote = [name for name in self.participants if self._scope.works[name] == "wrote"]
        values: dict[Instance, Value] = {REGISTRAR: ParticipantSet.of(wrote)}
        values |= dict.fromkeys(wrote, Vote.PREPARED)
        bundles = [values]
        if self._scope.rivals:
            bundles.append(dict.fromkeys(values, Vote.ABORTED))
        return wrote, [Phase2a(TXID, Ballot(0), bundle) for bundle in bundles]

    def leader(self, heard_of: Ballot) -> BareLeader:
        """A leader by itself."""
        return BareLeader(TXID, self.acceptors, heard_of)

    def recoverer(self, mandate: Mandate, seen: frozenset[str]) -> RecoveryMachine:
        """A recoverer that saw gids at `seen`."""
        return RecoveryMachine(
            TXID,
            self.acceptors,
            served=self.participants if self._scope.served else (),
            seen=seen,
            mandate=mandate,
            patience=1.0,
            registered=self.participants,
        )
