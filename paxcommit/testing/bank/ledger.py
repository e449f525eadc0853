"""What a bank holds: accounts, and for every transfer one row that names its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from paxcommit.errors import require
from paxcommit.sql.statement import Sql, Statements

__all__ = ["ACCOUNTS", "OPENED_WITH", "Account", "Leg", "Transfer", "draw", "open_accounts"]

ACCOUNTS = 32
"""Accounts per bank; few enough that clients meet on the same ones."""

OPENED_WITH = 1_000
"""What is in an account at first."""

_MOST = 200
_LOCK = 5_170_001  # several processes may open accounts at once


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a bank."""

    bank: str
    number: int


@dataclass(frozen=True, slots=True)
class Leg:
    """One bank's part of a transfer.

    Attributes:
        account: Where.
        counterpart: The other bank.
        amount: What is added to the balance; negative for the payer's.
    """

    account: Account
    counterpart: str
    amount: int

    def sql(self, txid: str) -> str:
        """The one statement that moves the money and writes the transaction's id down.

        Without parameters, whose spelling differs between drivers; an id and a name need no
        escaping.  It fails with 23514 where the balance does not suffice.
        """
        return (
            f"with moved as (update bank.account set balance = balance + {self.amount:d}"
            f" where id = {self.account.number:d} returning id)"
            f" insert into bank.transfer (txid, account, counterpart, amount)"
            f" select '{txid}', id, '{self.counterpart}', {self.amount:d} from moved"
        )


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money on its way from one bank to another."""

    payer: Account
    payee: Account
    amount: int

    def __post_init__(self) -> None:
        require(self.payer.bank != self.payee.bank, "a transfer is between two banks")
        require(self.amount > 0, "a transfer moves something")

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """Both parts, by the bank's name.

        Everybody locks in this order, so that no two clients wait for each other: one bank's
        deadlock detector does not see the other bank's waits.
        """
        first, second = sorted(
            (
                Leg(self.payer, self.payee.bank, -self.amount),
                Leg(self.payee, self.payer.bank, self.amount),
            ),
            key=lambda leg: leg.account.bank,
        )
        return first, second


def draw(random: Random, banks: Sequence[str]) -> Transfer:
    """Draw any transfer between two of `banks`."""
    payer, payee = random.sample(banks, 2)
    return Transfer(
        Account(payer, random.randint(1, ACCOUNTS)),
        Account(payee, random.randint(1, ACCOUNTS)),
        random.randint(1, _MOST),
    )


def open_accounts() -> Statements[None]:
    """Make the tables and the accounts, unless they are there.

    Waits for nobody's transfers, as ``on conflict`` would.
    """
    yield Sql(
        f"""
        select pg_advisory_xact_lock({_LOCK});
        create schema if not exists bank;
        create table if not exists bank.account (
            id integer primary key,
            opened_with bigint not null,
            balance bigint not null check (balance >= 0)
        );
        create table if not exists bank.transfer (
            txid text not null,
            account integer not null,
            counterpart text not null,
            amount bigint not null,
            primary key (txid, account)
        );
        insert into bank.account
            select number, {OPENED_WITH}, {OPENED_WITH} from generate_series(1, {ACCOUNTS}) number
            where not exists (select from bank.account)
        """
    )
