"""A literal transcription of the paper's TLA+ specification, *PaxosCommit*.

J. Gray and L. Lamport, "Consensus on Transaction Commit", ACM TODS 31(1), 2006, appendix A.3.  Each
function below is the action of the same name, with its quantifiers turned into loops.  A state is
one integer: two bits per RM, five per (instance, acceptor), and one per message that can ever be
sent, for messages are never taken back.  So an action is a guard, "these bits have this value", and
an assignment of bits, and a state is looked at by comparing integers.

The published ``PaxosCommit.cfg`` checks types only (trap 31).  Here every state is checked for what
the paper promises: no RM committed while another aborted, and one value chosen per instance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from typing import Literal

__all__ = ["PUBLISHED", "Paper"]

PUBLISHED = 1_321_761
"""Distinct states at 2 RMs, 3 acceptors and ballots {0, 1}, as published with the specification."""

RM_STATES = ("working", "prepared", "committed", "aborted")
VALUES = ("none", "prepared", "aborted")
VOTES = ("prepared", "aborted")

Message = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """``state & mask == value`` lets it happen; it then clears and sets bits.

    Attributes:
        words: Who does what.
    """

    words: str
    mask: int
    value: int
    clear: int
    set: int


@dataclass(frozen=True, slots=True)
class Field:
    """Some bits of a state: one variable of the specification."""

    shift: int
    width: int

    def is_(self, number: int) -> tuple[int, int]:
        """The guard "it is `number`", as (mask, value)."""
        return ((1 << self.width) - 1) << self.shift, number << self.shift


Guard = Sequence[tuple[int, int]]


class Paper:
    """The specification at a number of RMs, 2F+1 acceptors and ballots 0 to `ballots` - 1.

    Args:
        rms: How many.
        acceptors: How many.
        ballots: How many.
        majority: How many acceptors are one; None: F+1.
    """

    def __init__(
        self, rms: int = 2, acceptors: int = 3, ballots: int = 2, majority: int | None = None
    ) -> None:
        self.rms = [f"rm{n}" for n in range(1, rms + 1)]
        self.acceptors = [f"a{n}" for n in range(1, acceptors + 1)]
        self.ballots = range(ballots)
        self.majorities = list(combinations(self.acceptors, majority or acceptors // 2 + 1))
        self._bits = 0
        self.rm_state = {rm: self._field(2) for rm in self.rms}
        places = list(product(self.rms, self.acceptors))
        wide = ballots.bit_length()
        self.mbal = {place: self._field(wide) for place in places}
        self.bal = {place: self._field(wide) for place in places}  # one more than in the paper
        self.val = {place: self._field(2) for place in places}
        self._messages: dict[Message, Field] = {}
        self._actions = [
            action
            for rm in self.rms
            for action in (
                *self.rm_prepare(rm),
                *self.rm_choose_to_abort(rm),
                *self.rm_rcv_msg(rm, "Commit", "committed"),
                *self.rm_rcv_msg(rm, "Abort", "aborted"),
                *(one for bal in self.ballots[1:] for one in self.phase1a(bal, rm)),
                *(one for bal in self.ballots[1:] for one in self.phase2a(bal, rm)),
            )
        ]
        self._actions += self.decide()
        for acceptor in self.acceptors:
            self._actions += [*self.phase1b(acceptor), *self.phase2b(acceptor)]
        self._compiled = [(a.mask, a.value, ~a.clear, a.set) for a in self._actions]
        self._invariants = list(self._forbidden())

    # --- the specification ----------------------------------------------------------------------

    def rm_prepare(self, rm: str) -> Iterator[Action]:
        yield self._action(
            f"{rm} prepares",
            [self._rm(rm, "working")],
            [self._rm(rm, "prepared")],
            send=("2a", rm, 0, "prepared"),
        )

    def rm_choose_to_abort(self, rm: str) -> Iterator[Action]:
        yield self._action(
            f"{rm} chooses to abort",
            [self._rm(rm, "working")],
            [self._rm(rm, "aborted")],
            send=("2a", rm, 0, "aborted"),
        )

    def rm_rcv_msg(self, rm: str, message: Literal["Commit", "Abort"], to: str) -> Iterator[Action]:
        yield self._action(f"{rm} hears {message}", [self._sent(message)], [self._rm(rm, to)])

    def phase1a(self, bal: int, rm: str) -> Iterator[Action]:
        yield self._action(f"a leader begins ballot {bal} for {rm}", [], [], send=("1a", rm, bal))

    def phase2a(self, bal: int, rm: str) -> Iterator[Action]:
        none_yet = [self._not_sent("2a", rm, bal, value) for value in VOTES]
        reports = [(-1, "none"), *product(range(bal), VOTES)]
        for majority in self.majorities:
            for held in product(reports, repeat=len(majority)):
                heard = [
                    self._sent("1b", rm, bal, b, v, acceptor)
                    for acceptor, (b, v) in zip(majority, held, strict=True)
                ]
                maxbal = max(b for b, _ in held)
                # CHOOSE: whichever; that all of them agree is what Paxos promises, and is checked.
                value = "aborted" if maxbal == -1 else next(v for b, v in held if b == maxbal)
                yield self._action(
                    f"the leader of ballot {bal} proposes {value} for {rm}, having heard "
                    + ", ".join(majority),
                    [*none_yet, *heard],
                    [],
                    send=("2a", rm, bal, value),
                )

    def decide(self) -> Iterator[Action]:
        def decided(rm: str, value: str) -> Iterator[Guard]:
            for bal, majority in product(self.ballots, self.majorities):
                yield [self._sent("2b", acceptor, rm, bal, value) for acceptor in majority]

        for all_of_them in product(*(list(decided(rm, "prepared")) for rm in self.rms)):
            guard = [one for chosen in all_of_them for one in chosen]
            yield self._action("it is decided: Commit", guard, [], send=("Commit",))
        for rm in self.rms:
            for agreed in decided(rm, "aborted"):
                yield self._action(f"it is decided: Abort ({rm})", agreed, [], send=("Abort",))

    def phase1b(self, acceptor: str) -> Iterator[Action]:
        for ins, new in product(self.rms, self.ballots[1:]):
            at = ins, acceptor
            for mbal, bal, val in product(range(new), (-1, *self.ballots), VALUES):
                yield self._action(
                    f"{acceptor} promises ballot {new} for {ins}, holding {val}@{bal}",
                    [
                        self._sent("1a", ins, new),
                        self.mbal[at].is_(mbal),
                        self.bal[at].is_(bal + 1),
                        self.val[at].is_(VALUES.index(val)),
                    ],
                    [self.mbal[at].is_(new)],
                    send=("1b", ins, new, bal, val, acceptor),
                )

    def phase2b(self, acceptor: str) -> Iterator[Action]:
        for ins, new, value in product(self.rms, self.ballots, VOTES):
            at = ins, acceptor
            for mbal in range(new + 1):
                yield self._action(
                    f"{acceptor} accepts ballot {new}: {ins}={value}",
                    [self._sent("2a", ins, new, value), self.mbal[at].is_(mbal)],
                    [
                        self.mbal[at].is_(new),
                        self.bal[at].is_(new + 1),
                        self.val[at].is_(VALUES.index(value)),
                    ],
                    send=("2b", acceptor, ins, new, value),
                )

    # --- what must never be ---------------------------------------------------------------------

    def _forbidden(self) -> Iterator[tuple[str, int, int]]:
        for one, other in product(self.rms, self.rms):
            if one != other:
                guard = [self._rm(one, "committed"), self._rm(other, "aborted")]
                yield f"{one} committed while {other} aborted", *_merge(guard)
        chosen = list(product(self.ballots, self.majorities))
        for ins, (b, q), (c, r) in product(self.rms, chosen, chosen):
            guard = [self._sent("2b", acceptor, ins, b, "prepared") for acceptor in q]
            guard += [self._sent("2b", acceptor, ins, c, "aborted") for acceptor in r]
            yield f"two values chosen for {ins}", *_merge(guard)

    # --- as a space to explore ------------------------------------------------------------------

    def initial(self) -> int:
        return 0  # everybody working, mbal 0, bal -1 (stored as 0), none, nothing sent

    def moves(self, state: int) -> Iterator[int]:
        for mask, value, keep, new in self._compiled:
            if state & mask == value:
                yield state & keep | new

    def check(self, state: int) -> str | None:
        for what, mask, value in self._invariants:
            if state & mask == value:
                return what
        return None

    def trace(self, path: Sequence[int]) -> list[str]:
        return [
            next(
                a.words
                for a in self._actions
                if before & a.mask == a.value and before & ~a.clear | a.set == after
            )
            for before, after in pairwise(path)
        ]

    # --- bits -----------------------------------------------------------------------------------

    def _field(self, width: int) -> Field:
        field = Field(self._bits, width)
        self._bits += width
        return field

    def _rm(self, rm: str, state: str) -> tuple[int, int]:
        return self.rm_state[rm].is_(RM_STATES.index(state))

    def _sent(self, *message: str | int) -> tuple[int, int]:
        if message not in self._messages:
            self._messages[message] = self._field(1)
        return self._messages[message].is_(1)

    def _not_sent(self, *message: str | int) -> tuple[int, int]:
        return self._sent(*message)[0], 0

    def _action(
        self, words: str, guard: Guard, then: Guard, *, send: Message | None = None
    ) -> Action:
        clear, new = _merge([*then, self._sent(*send)] if send is not None else then)
        return Action(words, *_merge(guard), clear, new)


def _merge(guard: Guard) -> tuple[int, int]:
    mask = value = 0
    for one_mask, one_value in guard:
        mask |= one_mask
        value |= one_value
    return mask, value
