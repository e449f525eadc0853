"""What the banks' databases hold at the end, against what clients began and were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from paxcommit.testing.chaos.events import Begun
from paxcommit.testing.chaos.judging_facts import Facts, Row, Transaction
from paxcommit.testing.chaos.verdict import Violation

__all__ = ["check_books", "check_damage"]


def check_books(facts: Facts) -> Iterator[Violation]:
    """Every transaction at all of its banks or at none, as it was told, and as it was meant."""
    for transaction in facts.transactions.values():
        wish = transaction.wish
        if wish is None:
            continue
        finals = {leg.bank: facts.shown[leg.bank] for leg in wish.legs if leg.bank in facts.shown}
        if transaction.rows:
            yield from _there(transaction, wish, finals)
        elif finals:
            yield from _missing(transaction, finals)


def _told(transaction: Transaction, outcome: str) -> tuple[list[int], str]:
    """Who told `outcome`, unless they contradict each other, which is a violation of its own."""
    if len({what for _, _, what in transaction.told}) > 1:
        return [], ""
    words = [word for word in transaction.told if word[2] == outcome]
    return [line for line, _, _ in words], ", ".join(sorted({who for _, who, _ in words}))


def _missing(transaction: Transaction, finals: Mapping[str, int]) -> Iterator[Violation]:
    lines, who = _told(transaction, "committed")
    if not who:
        return
    if finals.keys() - {deed.participant for _, deed in transaction.deeds}:
        proof = (*transaction.first_line, *lines, *sorted(finals.values()))
        detail = f"{who} said committed, and no bank has it"
        yield Violation("commit-missing", proof, detail, transaction.txid)
    else:
        yield from _unreported(transaction, set(finals))


def _there(transaction: Transaction, wish: Begun, finals: Mapping[str, int]) -> Iterator[Violation]:
    txid = transaction.txid
    proof = tuple(sorted({*finals.values(), *(row.line for row in transaction.rows)}))
    found = {row.bank for row in transaction.rows}
    at = ", ".join(sorted(found))
    lost = finals.keys() - found
    excused = {deed.participant for _, deed in transaction.deeds}
    if lost - excused:
        detail = f"it is at {at} and not at {', '.join(sorted(lost - excused))}"
        yield Violation("half-committed", (*transaction.first_line, *proof), detail, txid)
    lines, who = _told(transaction, "aborted")
    if wish.shape == "self-abort":
        detail = f"it is at {at}"
        yield Violation("self-abort-took-effect", (*transaction.first_line, *proof), detail, txid)
    elif who:
        detail = f"{who} said aborted, and it is at {at}"
        yield Violation("aborted-but-there", (*lines, *proof), detail, txid)
    else:
        yield from _unreported(transaction, lost & excused)
    yield from _bookings(transaction, wish, transaction.rows)


def _unreported(transaction: Transaction, banks: set[str]) -> Iterator[Violation]:
    """A branch of a committed transaction, rolled back by hand, is damage (R19)."""
    reported = {each.participant for _, each in transaction.damage}
    for line, deed in transaction.deeds:
        if deed.participant in banks - reported:
            detail = f"rolled back by hand at {deed.participant}, and nobody said so"
            yield Violation("damage-not-reported", (line,), detail, transaction.txid)


def _bookings(transaction: Transaction, wish: Begun, rows: list[Row]) -> Iterator[Violation]:
    meant = Counter((leg.bank, leg.account, leg.amount) for leg in wish.legs)
    banks = {leg.bank for leg in wish.legs}
    found = Counter((row.bank, row.booked.account, row.booked.amount) for row in rows)
    lines = (*transaction.first_line, *sorted({row.line for row in rows}))
    for key, count in sorted(found.items()):
        bank, account, amount = key
        if key in meant and count > meant[key]:
            detail = f"{bank} has {amount:+} for account {account} {count} times"
            yield Violation("booked-twice", lines, detail, transaction.txid)
        elif key not in meant:
            detail = f"{bank} has {amount:+} for account {account}, which nobody wrote"
            yield Violation("wrong-booking", lines, detail, transaction.txid)
    for bank, account, amount in sorted(meant - found):
        # A bank's own part is one local transaction; a lost one is no matter of bookkeeping.
        if any(row.bank == bank for row in rows) and found.keys() <= meant.keys():
            detail = f"{bank} lacks {amount:+} for account {account}"
            yield Violation("wrong-booking", lines, detail, transaction.txid)
    for row in rows:
        if row.booked.counterpart not in banks:
            detail = f"{row.bank} names {row.booked.counterpart}, which has no part in it"
            yield Violation("wrong-booking", lines, detail, transaction.txid)


def check_damage(facts: Facts) -> Iterator[Violation]:
    """An alarm is for damage; a false one teaches people to look away."""
    for transaction in facts.transactions.values():
        done = {deed.participant for _, deed in transaction.deeds}
        for line, report in transaction.damage:
            if transaction.wish is not None and report.participant not in done:
                detail = f"{report.participant}: {report.what}"
                yield Violation("damage-without-deed", (line,), detail, transaction.txid)
