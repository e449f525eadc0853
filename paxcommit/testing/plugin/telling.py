"""What is where, in words, for whoever reads a failed test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from paxcommit.ids import TxId
from paxcommit.protocol.messages import Learned
from paxcommit.protocol.values import REGISTRAR, Outcome
from paxcommit.testing.plugin.truth import Truth

__all__ = ["tell"]

_MANY = 5


def tell(truth: Truth, complaints: Sequence[str], queries: Mapping[str, str]) -> str:
    """Say what is wrong, then what every database holds.

    Args:
        truth: What the databases hold.
        complaints: What is wrong with it.
        queries: Per participant, the caller's own question.
    """
    return "\n".join(
        ["not atomic:", *(f"  - {each}" for each in complaints), *_story(truth, queries)]
    )


def _story(truth: Truth, queries: Mapping[str, str]) -> Iterator[str]:
    if truth.effects:
        yield "\nEffects"
        for name, is_there in truth.effects.items():
            state = "there" if is_there else "missing"
            yield f"  {name}: {state:8} {' '.join(queries[name].split())}"
    transactions = truth.transactions
    for txid in transactions[:_MANY]:
        yield from _transaction(truth, txid)
    if len(transactions) > _MANY:
        yield f"\n… and {len(transactions) - _MANY} transactions more"
    if not transactions:
        yield "\nNo database knows of any transaction."
    for label, why in truth.silent.items():
        yield f"\n{label} does not answer: {why}"


def _transaction(truth: Truth, txid: TxId) -> Iterator[str]:
    outcome = truth.outcome(txid)
    how = "not decided" if outcome is Outcome.OPEN else outcome.value
    yield f"\nTransaction {txid}: {how}"
    for acceptor, learned in sorted(truth.answers.get(txid, {}).items()):
        yield f"  {acceptor}: {_acceptor(learned)}"
    for name in truth.participants:
        yield f"  {name}: {_participant(truth, txid, name)}"


def _acceptor(learned: Learned) -> str:
    if learned.promised < 0:
        return "knows nothing of it"
    votes = [
        f"{'registrar' if name == REGISTRAR else name} = {each.value} at ballot {each.ballot}"
        for name, each in sorted(learned.accepted.items())
    ]
    return f"promised ballot {learned.promised}; accepted " + (", ".join(votes) or "nothing")


_ROWS = {
    "branch": "committed, its branch row stands",
    "only": "committed in one phase, alone",
    "fence": "fenced off, nothing of it can be prepared any more",
    None: "nothing of it",
}


def _participant(truth: Truth, txid: TxId, name: str) -> str:
    for branch in truth.prepared:
        if (branch.txid, branch.participant) == (txid, name):
            return f"prepared for {branch.age:.1f} s, deadline {branch.deadline} s"
    if f"participant {name}" in truth.silent:
        return "no answer"
    return _ROWS[truth.rows.get(txid, {}).get(name)]
