"""Whether what the databases hold is all or nothing, for every transaction; pure, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from paxcommit.ids import TxId
from paxcommit.protocol.values import Outcome
from paxcommit.testing.plugin.truth import Truth

__all__ = ["complaints"]


def complaints(truth: Truth, asked: Collection[TxId] = ()) -> list[str]:
    """Say everything that is wrong; an empty list if all is as it should be.

    Args:
        truth: What the databases hold, after recovery.
        asked: The transactions that the caller wants to be decided; with just one, its outcome
            must agree with the effects.
    """
    return [
        *_unheard(truth),
        *_left_behind(truth),
        *(
            f"{where}: damage was recorded: {each.damage.detail}"
            for where, recorded in truth.damage.items()
            for each in recorded
        ),
        *(wrong for txid in truth.transactions for wrong in _transaction(truth, txid)),
        *_effects(truth, asked),
    ]


def _unheard(truth: Truth) -> Iterator[str]:
    """A participant that does not answer may hold anything; of acceptors, F may be away."""
    acceptors = [label for label in truth.silent if label.startswith("acceptor ")]
    away = len(acceptors) >= truth.majority  # of 2F+1, F+1 silent leave F
    for label, why in truth.silent.items():
        if label not in acceptors or away:
            yield f"{label} cannot be asked: {why}"


def _left_behind(truth: Truth) -> Iterator[str]:
    for branch in truth.prepared:
        yield f"{branch.participant}: transaction {branch.txid} is still prepared"
    for gid in truth.foreign:
        yield f"a prepared transaction of no cluster that is known here: {gid}"


def _transaction(truth: Truth, txid: TxId) -> Iterator[str]:
    rows = truth.rows.get(txid, {})
    committed = {name for name, kind in rows.items() if kind != "fence"}
    prepared = {branch.participant for branch in truth.prepared if branch.txid == txid}
    learner = truth.learner(txid)
    chosen = learner.participants
    match learner.outcome:
        case Outcome.COMMITTED if chosen is not None:
            for name in chosen.names:
                if rows.get(name) != "branch" and name not in prepared:
                    yield f"{name}: transaction {txid} is committed, and its branch there is lost"
            for name in sorted(committed - {*chosen.names}):
                yield f"{name}: transaction {txid} is committed without it, and it is committed too"
        case Outcome.ABORTED:
            for name in sorted(committed):
                yield f"{name}: transaction {txid} is aborted, and its branch there is committed"
        case _ if [*rows.values()] == ["only"] and not prepared:
            pass  # one participant, one phase (R17): whole by itself
        case _ if committed:
            where = ", ".join(sorted(committed))
            yield f"transaction {txid} is committed at {where}, and nobody decided that"
        case _:
            yield f"transaction {txid} is not decided"


def _effects(truth: Truth, asked: Collection[TxId]) -> Iterator[str]:
    there = sorted(name for name, is_there in truth.effects.items() if is_there)
    missing = sorted(truth.effects.keys() - there)
    if there and missing:
        yield f"the effects are at {', '.join(there)}, and not at {', '.join(missing)}"
    elif len(asked) == 1 and truth.effects:
        (txid,) = asked
        outcome = truth.outcome(txid)
        if outcome is Outcome.COMMITTED and missing:
            yield f"transaction {txid} is committed, and its effects are nowhere"
        if outcome is Outcome.ABORTED and there:
            yield f"transaction {txid} is aborted, and its effects are there"
