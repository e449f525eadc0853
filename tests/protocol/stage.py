"""A stage on which a script decides what happens next, and a transcript of it in words.

Every effect becomes a *cue*: something that can happen, spelled ``who: what``.  Cues happen in
the order in which they came about, unless the script holds them back, loses them or stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paxcommit.ids import TxId
from paxcommit.protocol.acceptor import UNKNOWN, EpochState, Persist, Refuse, step
from paxcommit.protocol.coordinator import CommitMachine, Terms
from paxcommit.protocol.effects import (
    Abandon,
    Apply,
    ApplyAnswered,
    Backoff,
    BackoffOver,
    BranchAnswered,
    CommitOnly,
    CommitReader,
    Effect,
    Event,
    Fence,
    FenceAnswered,
    FenceBlocked,
    FenceStands,
    FenceUnreachable,
    Prepare,
    Send,
    SetTimer,
    Tell,
    Terminate,
    TimerFired,
)
from paxcommit.protocol.finishing import Applied, NotApplied
from paxcommit.protocol.messages import (
    Accepted,
    AcceptorAnswer,
    Learned,
    NoAnswer,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Request,
)
from paxcommit.protocol.recovery import Mandate, RecoveryMachine
from paxcommit.protocol.resource_manager import No, OnlyCommitted, Prepared, Unknown, WroteNothing
from paxcommit.protocol.values import Instance, Value
from tests.protocol.database import Database

__all__ = ["TXID", "Stage"]

TXID = TxId(1, 0xC0FFEE, 1)


@dataclass(frozen=True, slots=True)
class Cue:
    """Something that can happen: `do` it, or learn from `lost` that it was not answered."""

    text: str
    effect: Effect
    do: Callable[[], None]
    lost: Callable[[], None]


class Stage:
    """Acceptors, databases and machines, moved by hand.

    Args:
        works: Per participant, what the block did (see `Database`).
        acceptors: How many: 2F+1.
    """

    def __init__(self, works: Mapping[str, str], *, acceptors: int = 3) -> None:
        self.databases = {name: Database(work) for name, work in works.items()}
        self.rows = {f"a{n}": UNKNOWN for n in range(1, acceptors + 1)}
        self.machines: dict[str, CommitMachine | RecoveryMachine] = {}
        self.cues: list[Cue] = []
        self.down: set[str] = set()
        self.holding: list[str] = []
        self.transcript: list[str] = []
        self.sent: list[tuple[str, Request]] = []
        self.told: dict[str, Tell] = {}

    # --- what a script does ---------------------------------------------------------------------

    def commit(self, who: str = "coordinator") -> CommitMachine:
        machine = CommitMachine(
            TXID, list(self.databases), Terms(tuple(self.rows), deadline=5.0, finish=5.0)
        )
        self._start(who, machine)
        return machine

    def recover(self, mandate: Mandate, who: str = "recoverer") -> RecoveryMachine:
        machine = RecoveryMachine(
            TXID,
            tuple(self.rows),
            served=self.databases,
            seen={name for name, database in self.databases.items() if database.gid},
            mandate=mandate,
            patience=5.0,
            registered=tuple(self.databases),
        )
        self._start(who, machine)
        return machine

    def crash(self, who: str) -> None:
        """End a process; what it has sent stays under way, answers to it are lost."""
        self._say(f"{who} crashes")
        del self.machines[who]

    def hold(self, text: str) -> None:
        """Keep back every cue that contains `text`, until `release`."""
        self.holding.append(text)

    def release(self) -> None:
        self.holding.clear()

    def lose(self, text: str) -> None:
        """Lose the first cue that contains `text`; its sender learns that no answer came."""
        cue = self._take(text)
        self._say(f"lost: {cue.text}")
        cue.lost()

    def lose_answer(self, text: str) -> None:
        """Let the first cue that contains `text` reach an acceptor, and lose the answer."""
        cue = self._take(text)
        assert isinstance(cue.effect, Send)
        self.ask(cue.effect.acceptor, cue.effect.request)
        self._say(f"done, but the answer is lost: {cue.text}")
        cue.lost()

    def let(self, text: str) -> None:
        """Let the first cue that contains `text` happen, out of turn if need be."""
        self._take(text).do()

    def run(self, until: str | None = None) -> None:
        """Let cues happen until none is left, or until the transcript says `until`.

        Timers fire only when they are let: a script that wants time to pass says so.
        """
        begun = len(self.transcript)
        while not any(until in line for line in self.transcript[begun:] if until):
            cue = next((cue for cue in self.cues if not self._held(cue)), None)
            if cue is None:
                if until is not None:
                    raise LookupError(f"never happened: {until}")
                return
            self.cues.remove(cue)
            cue.do()

    def state(self) -> list[str]:
        """What everybody holds now, in words."""
        lines = [
            f"{name}: " + ("gid" if db.gid else "no gid") + (f", row {db.row}" if db.row else "")
            for name, db in self.databases.items()
        ]
        for name, row in self.rows.items():
            lines.append(f"{name}: promised {row.promised}, {_accepted(row.accepted)}")
        return lines

    # --- how it comes about ---------------------------------------------------------------------

    def _held(self, cue: Cue) -> bool:
        return "timer" in cue.text or any(text in cue.text for text in self.holding)

    def _take(self, text: str) -> Cue:
        for cue in self.cues:
            if text in cue.text:
                self.cues.remove(cue)
                return cue
        raise LookupError(f"no cue says {text!r}: {[cue.text for cue in self.cues]}")

    def _say(self, line: str) -> None:
        self.transcript.append(line)

    def _start(self, who: str, machine: CommitMachine | RecoveryMachine) -> None:
        self.machines[who] = machine
        self._perform(who, machine.start())

    def _feed(self, who: str, event: Event) -> None:
        if who in self.machines:
            self._perform(who, self.machines[who].handle(event))

    def _perform(self, who: str, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Tell(outcome=outcome, reason=reason):
                    self.told[who] = effect
                    self._say(f"{who} tells: {outcome}" + (f" ({reason})" if reason else ""))
                case Send(acceptor=name, request=request):
                    self.sent.append((name, request))
                    self._cue(who, f"{who} > {name}: {_request(request)}", effect)
                case Backoff(name=name) | SetTimer(name=name):
                    self._cue(who, f"{who}: timer {name}", effect)
                case Apply(participant=name, verdict=verdict):
                    self._cue(who, f"{who} > {name}: {verdict.value}", effect)
                case _:
                    self._cue(who, f"{who} > {effect.participant}: {effect.step}", effect)

    def _cue(self, who: str, text: str, effect: Effect) -> None:
        def happen() -> None:
            event, answer = self._answer(effect)
            self._say(text + (f" -> {answer}" if answer else ""))
            if event is not None:
                self._feed(who, event)

        def lost() -> None:
            if (event := _lost(effect)) is not None:
                self._feed(who, event)

        self.cues.append(Cue(text, effect, happen, lost))

    def _answer(self, effect: Effect) -> tuple[Event | None, str]:
        match effect:
            case Send(acceptor=name) if name in self.down:
                return NoAnswer(TXID, name, "down"), "no answer"
            case Send(acceptor=name, request=request):
                reply = self.ask(name, request)
                return reply, _reply(reply)
            case Prepare(participant=name) | CommitOnly(participant=name):
                database = self.databases[name]
                kind = "only" if isinstance(effect, CommitOnly) else "branch"
                branch = database.insert(kind) or database.finish()
                return BranchAnswered(name, branch), _branch(branch)
            case CommitReader(participant=name):
                return BranchAnswered(name, OnlyCommitted()), "committed"
            case Apply(participant=name, verdict=verdict):
                applied = self.databases[name].apply(verdict)
                said = "done" if isinstance(applied, Applied) else f"{applied}"
                return ApplyAnswered(name, applied), said
            case Fence(participant=name) | Terminate(participant=name):
                if isinstance(effect, Terminate):
                    self.databases[name].running = None
                fence = self.databases[name].fence()
                match fence:
                    case FenceStands(kind=kind):
                        said = f"a row of kind {kind} stands"
                    case FenceBlocked(prepared=prepared):
                        said = "a gid is there" if prepared else "blocked by a running backend"
                    case FenceUnreachable():
                        said = "unreachable"
                return FenceAnswered(name, fence), said
            case SetTimer(name=name):
                return TimerFired(name), ""
            case Backoff(name=name):
                return BackoffOver(name), ""
            case _:
                return None, ""

    def ask(self, name: str, request: Request) -> AcceptorAnswer:
        """Ask an acceptor directly."""
        match step(name, EpochState(), self.rows[name], request):
            case Persist(row=row, reply=reply):
                self.rows[name] = row
                return reply
            case Refuse(reply=refusal):
                return refusal


def _lost(effect: Effect) -> Event | None:
    match effect:
        case Send(acceptor=name):
            return NoAnswer(TXID, name, "lost")
        case Prepare(participant=name) | CommitOnly(participant=name):
            return BranchAnswered(name, Unknown("the connection broke"))
        case CommitReader(participant=name):
            return BranchAnswered(name, Unknown("the connection broke"))
        case Apply(participant=name):
            return ApplyAnswered(name, NotApplied("the connection broke"))
        case Fence(participant=name) | Terminate(participant=name):
            return FenceAnswered(name, FenceUnreachable("the connection broke"))
        case Abandon() | SetTimer() | Backoff() | Tell():
            return None


def _values(values: Mapping[Instance, Value]) -> str:
    return " ".join(f"{name}={values[name]}" for name in sorted(values))


def _accepted(accepted: Mapping[Instance, Accepted]) -> str:
    held = [f"{name}={accepted[name].value}@{accepted[name].ballot}" for name in sorted(accepted)]
    return "accepted " + (" ".join(held) or "nothing")


def _request(request: Request) -> str:
    match request:
        case Phase1a(ballot=ballot):
            return f"1a ballot {ballot}"
        case Phase2a(ballot=ballot, values=values):
            return f"2a ballot {ballot} {_values(values)}"
        case _:
            return "learn"


def _reply(reply: AcceptorAnswer) -> str:
    match reply:
        case Phase1b(ballot=ballot, accepted=accepted):
            return f"1b ballot {ballot}, {_accepted(accepted)}"
        case Phase2b(ballot=ballot):
            return f"2b ballot {ballot}"
        case Learned(promised=promised, accepted=accepted):
            return f"promised {promised}, {_accepted(accepted)}"
        case Outbid(promised=promised):
            return f"outbid by ballot {promised}"
        case _:
            return type(reply).__name__.lower()


def _branch(answer: Prepared | WroteNothing | OnlyCommitted | No | Unknown) -> str:
    match answer:
        case Prepared():
            return "prepared"
        case WroteNothing():
            return "wrote nothing"
        case OnlyCommitted():
            return "committed"
        case No(reason=reason):
            return f"no: {reason}"
        case Unknown(reason=reason):
            return f"unknown: {reason}"
