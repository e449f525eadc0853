"""The judge can say no: every kind of damage, made by hand, is counted."""

from __future__ import annotations

import pytest

from paxcommit.testing import Layout
from paxcommit.testing.bank import Account, Transfer, judge

TRANSFER = Transfer(Account("bank_a", 1), Account("bank_b", 2), 30)
OPENED_WITH = 64_000


def book(banks: Layout, transfer: Transfer, txid: str, *only: str) -> None:
    """Carry a transfer out without any transaction, at both banks or at one of them `only`."""
    for leg in transfer.legs:
        if not only or leg.account.bank in only:
            banks.place(leg.account.bank).execute(leg.sql(txid))


async def test_banks_without_transfers_are_clean(banks: Layout) -> None:
    verdict = judge(banks)
    assert verdict.clean
    assert verdict.money_before == verdict.money_after == OPENED_WITH


async def test_a_whole_transfer_is_committed(banks: Layout) -> None:
    book(banks, TRANSFER, "t1")
    verdict = judge(banks)
    assert verdict.clean
    assert verdict.committed == {"t1"}
    assert verdict.money_after == OPENED_WITH
    balance = "select balance from bank.account where id = {}"
    assert banks.place("bank_a").execute(balance.format(1)) == [(970,)]
    assert banks.place("bank_b").execute(balance.format(2)) == [(1_030,)]


@pytest.mark.parametrize(("bank", "money"), [("bank_a", -30), ("bank_b", 30)])
async def test_a_transfer_at_one_bank_only_is_half_committed(
    banks: Layout, bank: str, money: int
) -> None:
    book(banks, TRANSFER, "t1")
    book(banks, TRANSFER, "t2", bank)
    verdict = judge(banks)
    assert not verdict.clean
    assert verdict.committed == {"t1"}
    assert verdict.half_committed == {"t2"}
    assert verdict.money_after == OPENED_WITH + money
    assert not verdict.misbooked


async def test_halves_that_do_not_fit_are_half_committed(banks: Layout) -> None:
    book(banks, TRANSFER, "t1", "bank_a")
    book(banks, Transfer(TRANSFER.payer, TRANSFER.payee, 31), "t1", "bank_b")
    book(banks, TRANSFER, "t2", "bank_a")
    book(banks, Transfer(TRANSFER.payee, TRANSFER.payer, 30), "t2", "bank_b")
    assert judge(banks).half_committed == {"t1", "t2"}


async def test_a_transfer_left_prepared_is_seen_with_its_locks(banks: Layout) -> None:
    leg = TRANSFER.legs[0]
    place = banks.place(leg.account.bank)
    place.execute("begin", leg.sql("t1"), "prepare transaction 'left by somebody'")
    verdict = judge(banks)
    assert not verdict.clean
    assert verdict.prepared == ("left by somebody",)
    assert verdict.locks > 0
    assert not verdict.committed | verdict.half_committed
    place.execute("rollback prepared 'left by somebody'")
    assert judge(banks).clean


async def test_missing_money_is_missed(banks: Layout) -> None:
    book(banks, TRANSFER, "t1")
    banks.place("bank_b").execute("update bank.account set balance = balance - 1 where id = 7")
    verdict = judge(banks)
    assert not verdict.clean
    assert verdict.money_after == OPENED_WITH - 1
    assert verdict.misbooked == ("bank_b/7",)
    assert not verdict.half_committed


async def test_money_that_only_changed_places_is_seen(banks: Layout) -> None:
    banks.place("bank_a").execute("update bank.account set balance = balance - 1 where id = 7")
    banks.place("bank_b").execute("update bank.account set balance = balance + 1 where id = 8")
    verdict = judge(banks)
    assert not verdict.clean
    assert verdict.money_after == OPENED_WITH
    assert verdict.misbooked == ("bank_a/7", "bank_b/8")
