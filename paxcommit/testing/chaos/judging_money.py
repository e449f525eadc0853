"""What the banks hold at the end beside transfers: balances, prepared transactions, locks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from paxcommit.testing.chaos.events import DecoyPlaced, FinalBank
from paxcommit.testing.chaos.judging_facts import Facts
from paxcommit.testing.chaos.verdict import Violation

__all__ = ["check_leftovers", "check_money", "final_banks"]


def final_banks(facts: Facts) -> dict[str, tuple[int, FinalBank]]:
    """Per bank its last final state, with the line's number."""
    return {each.bank: (line, each) for line, each in facts.of(FinalBank)}


def check_money(facts: Facts) -> Iterator[Violation]:
    """Balances are what transfers make of them, and no money is made or lost."""
    lines = defaultdict(list)
    for line, final in facts.of(FinalBank):
        lines[final.bank].append(line)
    for bank in sorted({*facts.run.banks, *lines}):
        if len(lines[bank]) != 1 or bank not in facts.run.banks:
            detail = f"{bank} has {len(lines[bank])} final states"
            yield Violation("final-state", (1, *lines[bank]), detail)
    made = 0
    for bank, (line, final) in sorted(final_banks(facts).items()):
        opened = facts.run.banks.get(bank, {})
        if opened.keys() != final.accounts.keys():
            changed = ", ".join(map(str, sorted(opened.keys() ^ final.accounts.keys())))
            yield Violation("accounts-changed", (1, line), f"{bank}: accounts {changed}")
        booked: Counter[int] = Counter()
        for row in final.transfers:
            booked[row.account] += row.amount
        for account in sorted(opened.keys() & final.accounts.keys()):
            should, is_ = opened[account] + booked[account], final.accounts[account]
            if should != is_:
                detail = f"{bank}/{account} holds {is_:,} and its transfers make it {should:,}"
                yield Violation("balance-wrong", (1, line), detail)
        made += sum(booked.values())
    yield from _conservation(facts, made)


def _conservation(facts: Facts, difference: int) -> Iterator[Violation]:
    """No money is made or lost in `difference`, the sum of all rows, that nothing else explains.

    Halves, damage and wrong rows have names of their own, and so have balances that do not fit.
    """
    for transaction in facts.transactions.values():
        wish = transaction.wish
        amount = sum(row.booked.amount for row in transaction.rows)
        whole = wish is not None and Counter(
            (leg.bank, leg.account, leg.amount) for leg in wish.legs
        ) == Counter((row.bank, row.booked.account, row.booked.amount) for row in transaction.rows)
        if not whole:
            difference -= amount
    if difference:
        lines = tuple(line for line, _ in final_banks(facts).values())
        what = "made" if difference > 0 else "lost"
        yield Violation("money-not-conserved", (1, *lines), f"{abs(difference):,} were {what}")


def check_leftovers(facts: Facts) -> Iterator[Violation]:
    """Nothing of ours stays prepared or locked, and nothing of others' is touched."""
    decoys = _decoys(facts)
    for bank, (line, final) in sorted(final_banks(facts).items()):
        for gid in final.prepared:
            if gid not in decoys[bank]:
                yield Violation("prepared-left", (line,), f"{bank}: {gid}")
        if final.locks:
            yield Violation("locks-left", (line,), f"{bank}: {final.locks} locks")
        for gid, placed in decoys[bank].items():
            if gid not in final.prepared:
                yield Violation("decoy-touched", (placed, line), f"{bank}: {gid} is gone")


def _decoys(facts: Facts) -> Mapping[str, dict[str, int]]:
    decoys: dict[str, dict[str, int]] = defaultdict(dict)
    for line, decoy in facts.of(DecoyPlaced):
        decoys[decoy.bank][decoy.gid] = line
    return decoys
