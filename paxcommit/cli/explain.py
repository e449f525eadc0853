"""``paxcommit explain TXID``: what every server holds of a transaction, and what that means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from rich.console import Group, RenderableType
from rich.text import Text

from paxcommit.cli.exits import Exit
from paxcommit.cli.options import ConfigOption, DriverOption, JsonOption, TxIdArgument
from paxcommit.cli.report import Report
from paxcommit.cli.running import Context, run
from paxcommit.ids import TxId
from paxcommit.inspection.branches import Coordinator
from paxcommit.inspection.sites import Failure, open_sites
from paxcommit.inspection.transaction import Found, Holding, look_up
from paxcommit.protocol.messages import Learned
from paxcommit.protocol.values import REGISTRAR, Outcome

__all__ = ["explain"]


def explain(
    txid: TxIdArgument,
    config: ConfigOption = None,
    driver: DriverOption = None,
    as_json: JsonOption = False,
) -> NoReturn:
    """Tell in words what every acceptor and participant holds, and what happens next."""

    async def command(context: Context) -> Report:
        asked = TxId.parse(txid)
        async with open_sites(context.settings, context.driver) as sites:
            found = await look_up(context.settings, sites, asked)
        return Report(_code(found), _document(found), _text(found))

    run(command, config=config, driver=driver, as_json=as_json)


def _code(found: Found) -> Exit:
    if found.damaged:
        return Exit.DAMAGE
    match found.outcome:
        case Outcome.COMMITTED:
            return Exit.OK
        case Outcome.ABORTED:
            return Exit.ABORTED
        case Outcome.OPEN:
            return Exit.UNDECIDED if found.enough else Exit.UNREACHABLE


# --- in words -----------------------------------------------------------------------------------


def _text(found: Found) -> RenderableType:
    parts: list[RenderableType] = [
        Text.assemble("Transaction ", (str(found.txid), "bold")),
        Text("\nAcceptors", "bold"),
    ]
    parts += [Text(f"  {site.name}: {_acceptor(each)}") for site, each in found.answers.items()]
    parts.append(Text("\nParticipants", "bold"))
    for site, held in found.holdings.items():
        parts += [Text(f"  {site.name}: {line}") for line in _holding(held)]
    parts += [
        Text(f"\nCoordinator: {_COORDINATOR[found.coordinator]}"),
        Text("\nWhat it means", "bold"),
        *(Text(f"  {line}") for line in _meaning(found)),
        Text("\nWhat happens next", "bold"),
        *(Text(f"  {line}") for line in _next(found)),
    ]
    return Group(*parts)


_COORDINATOR = {
    Coordinator.ALIVE: "alive, it holds its lock on an acceptor",
    Coordinator.DEAD: "dead, a majority of the acceptors do not see its lock",
    Coordinator.UNKNOWN: "not known, too few acceptors answer",
}


def _acceptor(answer: Learned | Failure) -> str:
    if not isinstance(answer, Learned):
        return f"no answer: {answer}"
    if answer.promised < 0:
        return "knows nothing of it"
    votes = [
        f"{_instance(name)} = {accepted.value} at ballot {accepted.ballot}"
        for name, accepted in sorted(answer.accepted.items())
    ]
    return f"promised ballot {answer.promised}; accepted " + (", ".join(votes) or "nothing")


def _instance(name: str) -> str:
    return "registrar" if name == REGISTRAR else name


def _holding(held: Holding) -> Iterator[str]:
    if held.failure is not None:
        yield f"no answer: {held.failure}"
        return
    if held.branch is not None:
        yield (
            f"prepared for {held.branch.age:.1f} s (deadline {held.branch.deadline} s), owned by "
            f"{held.branch.owner}"
        )
    match held.row:
        case "branch":
            yield "committed, its branch row stands"
        case "only":
            yield "committed in one phase, alone"
        case "fence":
            yield "fenced off: no branch of it can be prepared here any more"
        case _ if held.branch is None:
            yield "nothing of it"
        case _:
            pass
    for each in held.blocked:
        who = " ".join(filter(None, (each.user, each.application))) or "another user"
        yield f"blocks backend {each.pid} ({who}), which waits for {each.waiting:.1f} s"
    for recorded in held.damages:
        yield f"DAMAGE recorded {recorded.detected_at}: {recorded.damage.detail}"


def _meaning(found: Found) -> Iterator[str]:
    for name, value in sorted(found.chosen.items()):
        yield f"Chosen for {_instance(name)}: {value}."
    one_phase = found.one_phase
    match found.outcome:
        case Outcome.COMMITTED if one_phase is not None:
            yield f"Committed, in one phase, by {one_phase.name}."
        case Outcome.COMMITTED:
            yield "Decided: committed, for ever."
        case Outcome.ABORTED:
            yield "Decided: aborted, for ever."
        case Outcome.OPEN if not found.enough:
            yield (
                f"Only {len(found.learned)} acceptors answer and {found.majority} are needed, so "
                f"nobody can tell now. It is not lost."
            )
        case Outcome.OPEN if found.known and found.silent:
            yield (
                "Open, as far as those acceptors tell that answer; it may be decided: "
                f"{', '.join(found.silent)} may hold the votes."
            )
        case Outcome.OPEN if found.known:
            yield "Open: voting has begun, and no majority has chosen everything yet."
        case Outcome.OPEN if found.prepared:
            yield "Open: branches are prepared, but the acceptors know of no vote."
        case Outcome.OPEN:
            yield (
                "No server knows of it: it is still working, gave up before it voted, wrote "
                "nothing, or never was."
            )
    for site, what in found.damaged.items():
        yield f"DAMAGE at {site.name}: {what}."


def _next(found: Found) -> Iterator[str]:
    names = ", ".join(sorted(site.name for site in found.prepared))
    if found.damaged:
        yield "Nobody repairs damage by itself: compare the databases by hand."
    if found.outcome is not Outcome.OPEN:
        if names:
            verb = "committed" if found.outcome is Outcome.COMMITTED else "rolled back"
            yield f"What is prepared at {names} will be {verb} by its coordinator or by recovery."
            yield "To do it now: paxcommit recover"
        else:
            yield "Nothing: no branch of it is prepared anywhere that answers."
        return
    if not found.enough:
        yield "Start the acceptors that do not answer; recovery then finishes it."
        return
    late = any(branch.late for branch in found.prepared.values())
    if not names:
        yield "Nothing happens by itself, for nothing is prepared."
        yield f"To decide it now: paxcommit outcome --force {found.txid}"
    elif found.coordinator is Coordinator.DEAD or late:
        why = "is dead" if found.coordinator is Coordinator.DEAD else "let the deadline pass"
        yield (
            f"Its coordinator {why}, so recovery leads a ballot. By what the acceptors hold now, "
            f"it will be {_expected(found)}."
        )
        yield "To do it now: paxcommit recover"
    else:
        left = max(0.0, min(b.deadline - b.age for b in found.prepared.values()))
        yield (
            f"Its coordinator is expected to finish it; in {left:.1f} s the deadline passes, and "
            f"recovery may (then it would be {_expected(found)})."
        )
        yield f"To decide it now: paxcommit outcome --force {found.txid}"


def _expected(found: Found) -> str:
    if found.expected is None:
        return "committed or aborted, depending on which acceptors answer first"
    return str(found.expected)


# --- for scripts --------------------------------------------------------------------------------


def _document(found: Found) -> dict[str, Any]:
    return {
        "txid": str(found.txid),
        "outcome": found.outcome.value,
        "expected": found.expected.value if found.expected else None,
        "coordinator": found.coordinator.value,
        "chosen": {_instance(name): str(value) for name, value in sorted(found.chosen.items())},
        "acceptors": {site.name: _acceptor_document(each) for site, each in found.answers.items()},
        "participants": {
            site.name: {
                "answers": held.failure is None,
                "prepared": held.branch.gid if held.branch else None,
                "age": round(held.branch.age, 3) if held.branch else None,
                "row": held.row,
                "blocks": [
                    {"pid": each.pid, "user": each.user, "waiting": round(each.waiting, 3)}
                    for each in held.blocked
                ],
            }
            for site, held in found.holdings.items()
        },
        "damage": {site.name: what for site, what in found.damaged.items()},
        "meaning": list(_meaning(found)),
        "next": list(_next(found)),
    }


def _acceptor_document(answer: Learned | Failure) -> dict[str, Any]:
    if not isinstance(answer, Learned):
        return {"answers": False, "problem": str(answer)}
    return {
        "answers": True,
        "promised": int(answer.promised),
        "accepted": {
            _instance(name): {"ballot": int(each.ballot), "value": str(each.value)}
            for name, each in sorted(answer.accepted.items())
        },
    }
