"""What was said of transactions, by whom, and whether it fits together (R22 to R24)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from paxcommit.testing.chaos.events import ProcessEnded, Seen
from paxcommit.testing.chaos.judging_facts import Facts, Transaction
from paxcommit.testing.chaos.verdict import Violation

__all__ = ["check_answers", "check_readers"]


def check_answers(facts: Facts) -> Iterator[Violation]:
    """One outcome per transaction, whoever tells it, and one in the end for every client."""
    ends = {each.process: (line, each.how) for line, each in facts.of(ProcessEnded)}
    for transaction in facts.transactions.values():
        wish = transaction.wish
        if wish is None:
            continue
        if wish.legs:  # one that wrote nothing leaves no trace to ask for (R17)
            yield from _agreement(transaction)
        yield from _resolution(transaction)
        line, how = ends.get(wish.process, (0, ""))
        if not transaction.answers and how == "stopped":
            lines = (*transaction.first_line, line)
            detail = f"{wish.process} ended gently, without any answer"
            yield Violation("never-answered", lines, detail, transaction.txid)


def _agreement(transaction: Transaction) -> Iterator[Violation]:
    asked = [(line, each.outcome) for line, each in transaction.asked if each.outcome != "open"]
    for (above, was), (line, now) in pairwise(asked):
        if was != now:
            detail = f"outcome() said {was}, then {now}"
            yield Violation("outcome-changed", (above, line), detail, transaction.txid)
    later = {line for line, _ in asked[1:]}  # compared with the first already
    told = [word for word in transaction.told if word[0] not in later]
    if len({what for _, _, what in told}) > 1:
        lines = tuple(line for line, _, _ in told)
        detail = "; ".join(f"{who}: {what}" for _, who, what in told)
        yield Violation("two-answers", lines, detail, transaction.txid)


def _resolution(transaction: Transaction) -> Iterator[Violation]:
    if transaction.answered_finally:
        return
    said = [each.outcome for _, each in transaction.asked]
    if not said or said[-1] == "open":
        lines = [*transaction.first_line, *(line for line, _ in transaction.answers)]
        lines += [line for line, _ in transaction.asked]
        client = "was told unknown" if transaction.answers else "died without an answer"
        asked = "outcome() says open" if said else "nobody asked"
        detail = f"the client {client}, and {asked}"
        yield Violation("unknown-never-resolved", tuple(lines), detail, transaction.txid)


def check_readers(facts: Facts) -> Iterator[Violation]:
    """Who was told that it committed can read it, everywhere; of what aborted there is nothing."""
    for line, seen in facts.of(Seen):
        transaction = facts.transactions.get(seen.of)
        if transaction is None:
            yield Violation("nobody-began", (line,), "a reader looked for it", seen.of)
            continue
        answers = [(at, each.answer) for at, each in transaction.answers if at < line]
        undone = {deed.participant for _, deed in transaction.deeds}
        absent = {bank for bank, there in seen.banks.items() if not there} - undone
        missing = ", ".join(sorted(absent))
        there = ", ".join(sorted(bank for bank, there in seen.banks.items() if there))
        for at, answer in answers:
            if answer == "committed" and missing:
                detail = f"{seen.reader} did not find it at {missing}"
                yield Violation("acknowledged-not-visible", (at, line), detail, seen.of)
            elif answer == "aborted" and there:
                detail = f"{seen.reader} found it at {there}"
                yield Violation("aborted-but-visible", (at, line), detail, seen.of)
