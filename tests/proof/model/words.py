"""Traces in words: who did what, one line a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from paxcommit.protocol.effects import (
    Apply,
    ApplyAnswered,
    BranchAnswered,
    Event,
    FenceAnswered,
    FenceBlocked,
    FenceStands,
    FenceUnreachable,
)
from paxcommit.protocol.finishing import Applied
from paxcommit.protocol.messages import (
    Accepted,
    Learned,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Request,
)
from paxcommit.protocol.resource_manager import No, OnlyCommitted, Prepared, Unknown, WroteNothing
from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, Value
from tests.proof.model.acceptors import NOBODY
from tests.proof.model.database import Command

if TYPE_CHECKING:
    from tests.proof.model.world import Move, State, World

__all__ = ["line", "tell"]


def tell(world: World, path: Sequence[State]) -> list[str]:
    """Say what happened along a path of canonical states, with one name for each acceptor."""
    lines: list[str] = []
    state = world.initial()
    for wanted in path[1:]:
        found = next((it for it in world.steps(state) if world.canonical(it[1]) == wanted), None)
        if found is None:  # only code for which acceptors' names matter comes here
            lines.append("... and so on; somebody treats acceptors differently by their names")
            break
        move, after = found
        lines.append(line(world, state, move, after))
        state = after
    return lines


def line(world: World, before: State, move: Move, after: State) -> str:
    """Say what one step was, and what was sent with it."""
    text = _move(world, before, move)
    told = world.shared(after).told - world.shared(before).told
    for outcome in sorted(told, key=lambda outcome: outcome.value):
        text += f"; {_owner(world, before, after)} is told {outcome}"
    return text + _asked(world, before, after)


def _move(world: World, before: State, move: Move) -> str:
    kind, where, *rest = move
    index = int(where)
    match kind:
        case "request":
            sender, number, again = map(int, rest)
            name = world.acceptor_names[index]
            request = world.acceptors.requests[number]
            arrivals = world.acceptors.arrivals(name, before[index])
            answer = next(it[2] for it in arrivals if it[0] == (sender, number))
            late = " (nobody waits for it)" if sender == NOBODY else _of(world, sender)
            more = "; a second copy is still under way" if again else ""
            return f"{name} {_answer(request, world.events[answer])}{late}{more}"
        case "no answer":
            sender, number = map(int, rest)
            return (
                f"{world.process_names[sender]} has no answer from {world.acceptor_names[index]} "
                f"to {_request(world.acceptors.requests[number])}, which may still arrive"
            )
        case "forgets":
            return f"{world.acceptor_names[index]} is put back to an old copy, without votes"
        case "command":
            sender, number = map(int, rest)
            name = world.participants[index - world.db0]
            _, answers, event = world.databases.arrive(name, before[index], (sender, number))
            late = " (nobody waits for it)" if sender == NOBODY else _of(world, sender)
            said = f": {_event(world.events[event])}" if answers != NOBODY else ""
            return f"{name}: {_command(world.databases.commands[number])}{late}{said}"
        case "not answered":
            sender, number = map(int, rest)
            return (
                f"{world.process_names[sender]} has no answer from "
                f"{world.participants[index - world.db0]} to "
                f"{_command(world.databases.commands[number])}, which may still arrive"
            )
        case "finish":
            running = world.databases[before[index]].running
            what = "commits in one phase" if running and running[0] == "only" else "is prepared"
            return f"{world.participants[index - world.db0]} {what}"
        case "not finished":
            return (
                f"{world.process_names[int(rest[0])]} hears no more of the backend at "
                f"{world.participants[index - world.db0]}, which goes on"
            )
        case "break":
            return f"{world.participants[index - world.db0]}: the running backend ends"
        case "hears":
            return f"{world.process_names[index]} hears: {_event(world.events[int(rest[0])])}"
        case "answer lost":
            lost = world.events[int(rest[0])]
            return f"{world.process_names[index]} never hears: {_event(lost)}"
        case "timer":
            name = getattr(world.events[int(rest[0])], "name", "")
            return f"{world.process_names[index]}: time passes ({name})"
        case "dies":
            return f"{world.process_names[index]} dies"
        case _:
            return f"{world.process_names[index]} begins: {rest[0]}"


def _asked(world: World, before: State, after: State) -> str:
    """What processes sent with this step."""
    new: list[str] = []
    requests: dict[tuple[int, int], list[str]] = {}
    for a, name in enumerate(world.acceptor_names):
        held = set(world.acceptors[before[a]].queue)
        for item in world.acceptors[after[a]].queue:
            if item not in held and item[0] != NOBODY:
                requests.setdefault(item, []).append(name)
    for (sender, number), names in requests.items():
        text = _request(world.acceptors.requests[number])
        new.append(f"{world.process_names[sender]} sends {text} to {', '.join(names)}")
    for d, name in enumerate(world.participants, world.db0):
        held = set(world.databases[before[d]].queue)
        for item in world.databases[after[d]].queue:
            if item not in held and item[0] != NOBODY:
                text = _command(world.databases.commands[item[1]])
                new.append(f"{world.process_names[item[0]]} asks {name} for {text}")
    return "".join(f"; {text}" for text in new)


def _owner(world: World, before: State, after: State) -> str:
    for p, name in enumerate(world.process_names, world.p0):
        if before[p] != after[p]:
            return f"the owner of the {name}"
    return "somebody"


def _of(world: World, sender: int) -> str:
    return f" (from the {world.process_names[sender]})"


def _values(values: Mapping[Instance, Value]) -> str:
    return " ".join(
        f"{'registrar' if name == REGISTRAR else name}={values[name]}" for name in sorted(values)
    )


def _held(accepted: Mapping[Instance, Accepted]) -> str:
    held = [
        f"{'registrar' if name == REGISTRAR else name}={accepted[name].value}"
        f"@{accepted[name].ballot}"
        for name in sorted(accepted)
    ]
    return " ".join(held) or "nothing"


def _request(request: Request) -> str:
    match request:
        case Phase1a(ballot=ballot):
            return f"1a of ballot {ballot}"
        case Phase2a(ballot=ballot, values=values):
            return f"2a of ballot {ballot} ({_values(values)})"
        case _:
            return "what do you hold?"


def _answer(request: Request, answer: Event) -> str:
    match answer:
        case Phase1b(ballot=ballot, accepted=accepted):
            return f"promises ballot {ballot}, holding {_held(accepted)}"
        case Phase2b(ballot=ballot, values=values):
            return f"accepts ballot {ballot}: {_values(values)}"
        case Learned(promised=promised, accepted=accepted):
            return f"says that it promised {promised} and holds {_held(accepted)}"
        case Outbid(promised=promised):
            return f"refuses {_request(request)}: it promised {promised}"
        case _:
            return f"refuses {_request(request)}: {type(answer).__name__}"


def _command(command: Command) -> str:
    return command.verdict.value if isinstance(command, Apply) else command.step


def _event(event: Event) -> str:
    match event:
        case BranchAnswered(answer=answer):
            match answer:
                case Prepared():
                    return "prepared"
                case WroteNothing():
                    return "it wrote nothing"
                case OnlyCommitted():
                    return "committed"
                case No(reason=reason):
                    return f"no ({reason})"
                case Unknown(reason=reason):
                    return f"unknown ({reason})"
        case ApplyAnswered(answer=applied):
            return "done" if isinstance(applied, Applied) else str(applied)
        case FenceAnswered(answer=fence):
            match fence:
                case FenceStands(kind=kind):
                    return f"a row of kind {kind} stands"
                case FenceBlocked(prepared=prepared):
                    return "a gid is there" if prepared else "a running backend is in the way"
                case FenceUnreachable():
                    return "unreachable"
        case _:
            return type(event).__name__
    return str(Outcome.OPEN)
