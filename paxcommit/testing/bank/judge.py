"""The judge: reads the banks' databases and nothing else, least of all a program's own books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from paxcommit.testing.admin import Rows
from paxcommit.testing.layout import Layout, Place

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the databases say.

    Attributes:
        money_before: In all accounts when they were opened.
        money_after: In all accounts now.
        committed: The transactions written down at both banks, once each, with equal amounts.
        half_committed: The transactions of which one bank knows and the other does not.
        misbooked: Accounts whose balance is not what their transfers make of it.
        prepared: The gids of transactions still prepared, whosever they are.
        locks: Locks that prepared transactions hold in the banks' databases.
    """

    money_before: int
    money_after: int
    committed: frozenset[str]
    half_committed: frozenset[str]
    misbooked: tuple[str, ...]
    prepared: tuple[str, ...]
    locks: int

    @property
    def clean(self) -> bool:
        """Whether every transfer took effect entirely or not at all, and nothing is left over."""
        return (
            self.money_before == self.money_after
            and not (self.half_committed or self.misbooked or self.prepared)
            and self.locks == 0
        )


def judge(layout: Layout) -> Verdict:
    """Judge the banks, which are the layout's participants; their servers must run.

    Transactions still under way make no sense of it: let clients and recovery end first.
    """
    banks = layout.participant_places
    money = [place.execute(_MONEY)[0] for place in banks.values()]
    legs = {bank: place.execute(_LEGS) for bank, place in banks.items()}
    committed, half = _pair(legs)
    return Verdict(
        money_before=sum(int(before) for before, _ in money),
        money_after=sum(int(after) for _, after in money),
        committed=committed,
        half_committed=half,
        misbooked=tuple(
            f"{bank}/{account}"
            for bank, place in banks.items()
            for (account,) in place.execute(_MISBOOKED)
        ),
        prepared=tuple(gid for place in banks.values() for gid in place.prepared()),
        locks=sum(_locks(place) for place in banks.values()),
    )


_MONEY = "select coalesce(sum(opened_with), 0), coalesce(sum(balance), 0) from bank.account"
_LEGS = "select txid, counterpart, amount from bank.transfer"
_MISBOOKED = """
    select a.id from bank.account a
    where a.balance <> a.opened_with + (
        select coalesce(sum(t.amount), 0) from bank.transfer t where t.account = a.id)
    order by a.id
"""
# A prepared transaction has no pid (trap 13).
_LOCKS = """
    select count(*) from pg_locks l join pg_database d on d.oid = l.database
    where d.datname = current_database() and l.pid is null
"""


def _locks(place: Place) -> int:
    return int(place.execute(_LOCKS)[0][0])


def _pair(legs: Mapping[str, Rows]) -> tuple[frozenset[str], frozenset[str]]:
    """Tell the transactions whose two legs answer each other from the others."""
    found: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for bank, rows in legs.items():
        for txid, counterpart, amount in rows:
            found[txid].append((bank, counterpart, amount))
    whole = frozenset(txid for txid, sides in found.items() if _is_whole(sides))
    return whole, frozenset(found) - whole


def _is_whole(sides: list[tuple[str, str, int]]) -> bool:
    if len(sides) != 2:
        return False
    (bank, counterpart, amount), other = sides
    return other == (counterpart, bank, -amount)
