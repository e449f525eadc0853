"""A scope as a space to explore: real machines, acceptors, databases and a network.

A global state is a tuple of small integers: the local states of acceptors and databases, what is
left of the scope's bounds and what was told, and the local states of processes, in this order.

The network delays and reorders as it likes.  A request that is never delivered is lost; its sender
learns of a loss at any time, and only as often as the scope says.  A request outlives its sender.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import TypeAlias

from paxcommit.ids import Ballot
from paxcommit.protocol.effects import BackoffOver, Event, Send, Terminate, TimerFired
from paxcommit.protocol.recovery import Mandate
from paxcommit.protocol.values import Outcome
from paxcommit.protocol.watching import SETTLED_AFTER, SeenBranch, triage
from tests.proof.model.acceptors import NOBODY, Acceptors, Item
from tests.proof.model.cast import TXID, Cast
from tests.proof.model.database import Databases
from tests.proof.model.freezing import Interner
from tests.proof.model.losses import Losses
from tests.proof.model.processes import Processes, Reaction
from tests.proof.model.scope import Scope
from tests.proof.model.truth import Facts, chosen_of, judge, outcome_of
from tests.proof.model.words import tell

__all__ = ["Move", "Shared", "State", "World"]

_DEADLINE = 5

State: TypeAlias = tuple[int, ...]
Move: TypeAlias = tuple[str | int, ...]
"""What happens: its kind, where, and what; spelled by `words`."""

Placed: TypeAlias = tuple[Callable[[int, Item], int], int, Item]
"""How something sets out, where to, and what."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What belongs to nobody in particular.

    Attributes:
        left: What is left of the scope's bounds, in the order of `_BOUNDS`.
        told: What anybody was told.
        settled: See `Facts`.
        fault: What a machine did that it should never do.
    """

    left: tuple[int, ...]
    told: frozenset[Outcome] = frozenset()
    settled: bool = False
    fault: str | None = None


_BOUNDS = ("births", "deaths", "losses", "doubles", "rebids", "retries", "forgets", "breaks")
_BOUND = {name: index for index, name in enumerate(_BOUNDS)}


class World:
    """See the module."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.events: Interner[Event] = Interner()
        self.acceptors = Acceptors(self.events, rivals=scope.rivals)
        self.databases = Databases(self.events)
        self.losses = Losses(TXID, self.events)
        self.cast = Cast(scope)
        self.acceptor_names, self.participants = self.cast.acceptors, self.cast.participants
        self.processes = Processes(self.events, self.acceptor_names)
        self.process_names = (
            *(name for name, _ in self.cast.beginners()),
            *(f"recoverer {n}" for n in range(1, scope.recoverers + 1)),
        )
        self.first_recoverer = len(self.process_names) - scope.recoverers
        self.db0 = scope.acceptors
        self.sh = self.db0 + len(self.participants)
        self.p0 = self.sh + 1
        self._shared: Interner[Shared] = Interner()
        self._shared_facts: list[int] = []
        self._kinds: Interner[Hashable] = Interner()
        self._facts = [
            *([self.acceptors.facts] * len(self.acceptor_names)),
            *([self.databases.facts] * len(self.participants)),
            self._shared_facts,
        ]
        self._tables: dict[Hashable, int] = {}
        self._placed: dict[tuple[int, Reaction], tuple[Placed, ...]] = {}
        self._verdicts: dict[Hashable, str | None] = {}
        self._as_they_are = [tuple(range(scope.acceptors))]
        self._orders: dict[tuple[int, ...], tuple[tuple[int, ...], list[tuple[int, ...]]]] = {}

    # --- the space ------------------------------------------------------------------------------

    def initial(self) -> State:
        scope = self.scope
        shared = Shared(tuple(getattr(scope, bound) for bound in _BOUNDS))
        s = [
            *(self.acceptors.first for _ in self.acceptor_names),
            *(self.databases.first(scope.works[name]) for name in self.participants),
            self._share(shared),
            *(self.processes.gone for _ in self.process_names),
        ]
        if scope.coordinator == "dead":
            self._bequeath(s)
        for p, (name, machine) in enumerate(self.cast.beginners()):
            self._perform(s, p, self.processes.start(name, machine))
        return tuple(s)

    def moves(self, state: State) -> Iterator[State]:
        for _, after in self.steps(state):
            yield self.canonical(after)

    def _bequeath(self, s: list[int]) -> None:
        """The coordinator died after sending its votes: all is prepared, and under way."""
        prepared, requests = self.cast.estate()
        for a, request in product(range(self.db0), requests):
            s[a] = self.acceptors.send(s[a], (NOBODY, self.acceptors.request(request)))
        for d, name in enumerate(self.participants, self.db0):
            s[d] = self.databases.first(self.scope.works[name], prepared=name in prepared)

    def canonical(self, state: State) -> State:
        """The one state that stands for all that differ in the acceptors' names only.

        Nothing in the protocol depends on which acceptor is which, so they are as good as one.
        """
        acceptors = state[: self.db0]
        known = self._orders.get(acceptors)
        if known is None:
            known = self._orders[acceptors] = tuple(sorted(acceptors)), _sortings(acceptors)
        ordered, orders = known
        if orders == self._as_they_are:
            return state
        processes = state[self.p0 :]
        rename = self.processes.rename
        best = min([[rename(local, order) for local in processes] for order in orders])
        return (*ordered, *state[self.db0 : self.p0], *best)

    def check(self, state: State) -> str | None:
        key = tuple([facts[local] for facts, local in zip(self._facts, state, strict=False)])
        if key not in self._verdicts:
            fault = self._shared[state[self.sh]].fault
            self._verdicts[key] = fault or judge(self.facts(state))
        return self._verdicts[key]

    def facts(self, state: State) -> Facts:
        shared = self._shared[state[self.sh]]
        return Facts(
            [[self.acceptors.votes[n] for n in self.acceptors[a].votes] for a in state[: self.db0]],
            {
                name: self.databases[local]
                for name, local in zip(self.participants, state[self.db0 : self.sh], strict=True)
            },
            shared.told,
            shared.settled,
            self.scope.rivals,
        )

    def left(self, state: State) -> dict[str, int]:
        """What is left of the scope's bounds."""
        return dict(zip(_BOUNDS, self._shared[state[self.sh]].left, strict=True))

    def with_left(self, state: State, **left: int) -> State:
        """The same state with other bounds; what is not named is 0."""
        shared = self._shared[state[self.sh]]
        bounds = tuple(left.get(bound, 0) for bound in _BOUNDS)
        number = self._share(replace(shared, left=bounds))
        return (*state[: self.sh], number, *state[self.p0 :])

    def prepared(self, state: State) -> list[str]:
        """Where a gid is."""
        return [
            name
            for name, local in zip(self.participants, state[self.db0 : self.sh], strict=True)
            if self.databases[local].gid
        ]

    def resolved(self, state: State) -> bool:
        """Whether it is decided, or committed in one phase."""
        facts = self.facts(state)
        alone = any(database.row == "only" for database in facts.databases.values())
        return alone or outcome_of(chosen_of(facts.votes)) is not Outcome.OPEN

    def shared(self, state: State) -> Shared:
        return self._shared[state[self.sh]]

    def trace(self, path: Sequence[State]) -> list[str]:
        return tell(self, path)

    # --- what can happen ------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[tuple[Move, State]]:
        """All that can happen in a state, with what comes of it."""
        left = self.left(state)
        yield from self._requests(state, left)
        yield from self._commands(state, left)
        yield from self._processes(state, left)
        if left["births"]:
            for mandate in self.scope.mandates:
                yield from self.births(state, mandate)

    def _requests(self, state: State, left: Mapping[str, int]) -> Iterator[tuple[Move, State]]:
        for a, name in enumerate(self.acceptor_names):
            for item, after, answer, fault, doubled in self.acceptors.arrivals(name, state[a]):
                s = list(state)
                s[a] = after
                if fault is not None:
                    self._fault(s, fault)
                    yield ("request", a, *item, False), tuple(s)
                elif self._answer(s, item[0], answer):
                    yield ("request", a, *item, False), tuple(s)
                if left["doubles"]:
                    s = list(state)
                    s[a] = doubled
                    self._spend(s, "doubles")
                    if self._answer(s, item[0], answer):
                        yield ("request", a, *item, True), tuple(s)
                if left["losses"] and item[0] != NOBODY:
                    s = list(state)
                    s[a] = self.acceptors.orphan(state[a], *item)
                    self._spend(s, "losses")
                    if self._feed(s, item[0], self.losses.of_request(name)):
                        yield ("no answer", a, *item), tuple(s)
            if left["forgets"] and self.acceptors[state[a]].votes:
                s = list(state)
                s[a] = self.acceptors.forget(state[a])
                self._spend(s, "forgets")
                yield ("forgets", a), tuple(s)

    def _commands(self, state: State, left: Mapping[str, int]) -> Iterator[tuple[Move, State]]:
        for d, name in enumerate(self.participants, self.db0):
            database = self.databases[state[d]]
            for item in database.queue:
                s = list(state)
                s[d], sender, event = self.databases.arrive(name, state[d], item)
                command = self.databases.commands[item[1]]
                running = database.running
                if isinstance(command, Terminate) and running and running[1] != NOBODY:
                    p = self.p0 + running[1]
                    s[p] = self.processes.post(s[p], self.losses.of_branch(name))
                if self._answer(s, sender, event):
                    yield ("command", d, *item), tuple(s)
                if left["losses"] and item[0] != NOBODY:
                    s = list(state)
                    s[d] = self.databases.orphan(state[d], *item)
                    self._spend(s, "losses")
                    if self._feed(s, item[0], self.losses.of_command(command)):
                        yield ("not answered", d, *item), tuple(s)
            if database.running:
                yield from self._backend(state, left, d, database.running[1])

    def _backend(
        self, state: State, left: Mapping[str, int], d: int, sender: int
    ) -> Iterator[tuple[Move, State]]:
        name = self.participants[d - self.db0]
        s = list(state)
        s[d], _, event = self.databases.finish(name, state[d])
        if self._answer(s, sender, event):
            yield ("finish", d), tuple(s)
        if left["breaks"] or sender == NOBODY:
            s = list(state)
            s[d], _, event = self.databases.break_off(name, state[d])
            if sender != NOBODY:
                self._spend(s, "breaks")
            if self._answer(s, sender, event):
                yield ("break", d), tuple(s)
        if left["losses"] and sender != NOBODY:
            s = list(state)
            s[d] = self.databases.abandon(state[d], sender)
            self._spend(s, "losses")
            if self._feed(s, sender, self.losses.of_branch(name)):
                yield ("not finished", d, sender), tuple(s)

    def _processes(self, state: State, left: Mapping[str, int]) -> Iterator[tuple[Move, State]]:
        for p, local in enumerate(state[self.p0 :]):
            if local == self.processes.gone:
                continue
            process = self.processes[local]
            for event in process.inbox:
                s = list(state)
                s[self.p0 + p] = self.processes.take(local, event)
                if self._feed(s, p, event):
                    yield ("hears", p, event), tuple(s)
                if left["losses"] and (lost := self.losses.of_answer(event)) is not None:
                    s = list(state)
                    s[self.p0 + p] = self.processes.take(local, event)
                    self._spend(s, "losses")
                    if self._feed(s, p, lost):
                        yield ("answer lost", p, event), tuple(s)
            for event in process.timers:
                bound = self._bound(event)
                if bound == "none" or (bound and not left[bound]):
                    continue
                s = list(state)
                s[self.p0 + p] = self.processes.take(local, event)
                if bound:
                    self._spend(s, bound)
                if self._feed(s, p, event):
                    yield ("timer", p, event), tuple(s)
            if left["deaths"]:
                s = list(state)
                self._end(s, p)
                self._spend(s, "deaths")
                yield ("dies", p), tuple(s)

    def _bound(self, event: int) -> str:
        """What bounds how often this may happen."""
        match self.events[event]:
            case BackoffOver(name="ballot"):
                return "rebids"
            case BackoffOver():
                return "retries"
            case TimerFired(name=name):
                return "" if name in self.scope.timers else "none"
            case _:
                return ""

    def births(self, state: State, mandate: str) -> Iterator[tuple[Move, State]]:
        free = next(
            (
                p
                for p in range(self.first_recoverer, len(self.process_names))
                if state[self.p0 + p] == self.processes.gone
            ),
            None,
        )
        if free is None:
            return
        for reaction, words in self._born(state, mandate):
            s = list(state)
            self._spend(s, "births")
            if self._perform(s, free, reaction):
                yield ("begins", free, words), tuple(s)

    def _born(self, state: State, mandate: str) -> Iterator[tuple[Reaction, str]]:
        """Who can take up the transaction, and how that is put."""
        match mandate:
            case "LEADER":
                for ballot in self._heard_of(state):
                    leader = self.cast.leader(ballot)
                    reaction = self.processes.start((mandate, ballot), leader)
                    yield reaction, f"it leads a ballot, having heard of ballot {ballot}"
            case "FORCE":
                yield self._recoverer(Mandate.FORCE, frozenset())
            case _:
                # Slow clocks and false alarms: any branch may look late, and anybody dead (R26).
                age = _DEADLINE if mandate == "LEAD" else SETTLED_AFTER
                branches = [SeenBranch(TXID, name, age, _DEADLINE) for name in self.prepared(state)]
                holders = {name: {TXID.coordinator} for name in self.acceptor_names}
                for case in triage(branches, holders, len(self.acceptor_names) // 2 + 1):
                    yield self._recoverer(case.mandate, frozenset(case.seen))

    def _heard_of(self, state: State) -> list[Ballot]:
        """What ballot a leader may have heard of when it begins."""
        promised = {self.acceptors[a].row.promised for a in state[: self.db0]} | {Ballot(0)}
        if not self.scope.in_turn:
            return sorted(promised - {Ballot(-1)})
        begun = self.scope.births - self.left(state)["births"]
        return [Ballot(begun)] if max(promised) == begun else []

    def _recoverer(self, mandate: Mandate, seen: frozenset[str]) -> tuple[Reaction, str]:
        machine = self.cast.recoverer(mandate, seen)
        saw = f", having seen a gid at {', '.join(sorted(seen))}" if seen else ""
        return self.processes.start((mandate, seen), machine), f"{mandate.value}{saw}"

    # --- what comes of it -----------------------------------------------------------------------

    def _answer(self, s: list[int], sender: int, event: int) -> bool:
        """An answer sets out; False if what follows is beyond the scope."""
        if sender == NOBODY:
            return True
        if self.scope.late_answers:
            s[self.p0 + sender] = self.processes.post(s[self.p0 + sender], event)
            return True
        return self._feed(s, sender, event)

    def _feed(self, s: list[int], p: int, event: int) -> bool:
        if s[self.p0 + p] == self.processes.gone:
            return True
        return self._perform(s, p, self.processes.react(s[self.p0 + p], event))

    def _perform(self, s: list[int], p: int, reaction: Reaction) -> bool:
        key = p, reaction
        orders = self._placed.get(key)
        if orders is None:
            orders = self._placed[key] = self._place(p, reaction)
        if reaction.ballot > self.scope.top:
            return False
        s[self.p0 + p] = reaction.local
        for send, where, item in orders:
            s[where] = send(s[where], item)
        for name in reaction.abandoned:
            self._abandon(s, p, name)
        if reaction.told or reaction.settled or reaction.fault:
            self._note(s, p, reaction)
        if reaction.local == self.processes.gone:
            self._end(s, p)
        return True

    def _place(self, p: int, reaction: Reaction) -> tuple[Placed, ...]:
        """Where the orders of a process go."""
        placed: list[Placed] = []
        for effect in reaction.orders:
            if isinstance(effect, Send):
                a = self.acceptor_names.index(effect.acceptor)
                item = p, self.acceptors.request(effect.request)
                placed.append((self.acceptors.send, a, item))
            else:
                d = self.db0 + self.participants.index(effect.participant)
                item = p, self.databases.command(effect)
                placed.append((self.databases.send, d, item))
        return tuple(placed)

    def _note(self, s: list[int], p: int, reaction: Reaction) -> None:
        """Remember what was told, and what should not have been done."""
        shared = self._shared[s[self.sh]]
        s[self.sh] = self._share(
            replace(
                shared,
                told=shared.told | (set(reaction.told) - {Outcome.OPEN}),
                settled=shared.settled or reaction.settled,
                fault=reaction.fault and f"{self.process_names[p]}: {reaction.fault}",
            )
        )

    def _abandon(self, s: list[int], p: int, name: str) -> None:
        d = self.db0 + self.participants.index(name)
        before = s[d]
        s[d] = self.databases.abandon(before, p)
        if s[d] != before:
            s[self.p0 + p] = self.processes.post(s[self.p0 + p], self.losses.of_branch(name))

    def _end(self, s: list[int], p: int) -> None:
        """A process ends; what it has sent goes on without it."""
        s[self.p0 + p] = self.processes.gone
        for a in range(self.db0):
            s[a] = self.acceptors.orphan(s[a], p)
        for d in range(self.db0, self.sh):
            s[d] = self.databases.orphan(s[d], p)

    def _spend(self, s: list[int], bound: str) -> None:
        key = s[self.sh], bound
        if key not in self._tables:
            shared = self._shared[s[self.sh]]
            left = list(shared.left)
            left[_BOUND[bound]] -= 1
            self._tables[key] = self._share(replace(shared, left=tuple(left)))
        s[self.sh] = self._tables[key]

    def _fault(self, s: list[int], what: str) -> None:
        s[self.sh] = self._share(replace(self._shared[s[self.sh]], fault=what))

    def _share(self, shared: Shared) -> int:
        number = self._shared.number(shared, shared)
        if number == len(self._shared_facts):
            told = shared.told, shared.settled, shared.fault
            self._shared_facts.append(self._kinds.number(told, told))
        return number


def _sortings(numbers: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All orders of positions that sort the numbers there."""
    wanted = sorted(numbers)
    return [
        order
        for order in permutations(range(len(numbers)))
        if [numbers[position] for position in order] == wanted
    ]
