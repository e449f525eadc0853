"""A small shop: an order is paid if and only if its customer is charged, in two databases."""

from __future__ import annotations

from dataclasses import dataclass

from paxcommit import AsyncCoordinator, Outcome, OutcomeUnknown

ORDERS = """
create table orders (
    id integer primary key, customer text not null, cents integer not null,
    state text not null default 'new'
)
"""
ACCOUNTS = "create table accounts (customer text primary key, cents integer not null)"
CHARGES = "create table charges (order_id integer primary key, cents integer not null)"


class InsufficientFunds(Exception):
    """The customer cannot pay; nothing was changed."""


@dataclass(frozen=True)
class Payment:
    """One attempt to pay.

    Attributes:
        txid: Ask `Shop.settle` with it.
        outcome: Committed: paid.  Aborted: nothing happened, one may try again.  Open: not known,
            so neither ship nor try again; settle it first.
    """

    txid: str
    outcome: Outcome


class Shop:
    """What the rest of the service calls."""

    def __init__(self, coordinator: AsyncCoordinator) -> None:
        self._coordinator = coordinator

    async def pay(self, order_id: int) -> Payment:
        """Charge the customer and mark the order as paid.

        Raises:
            InsufficientFunds: Nothing was changed.
            TransactionAborted: Nothing was changed.
        """
        tx = self._coordinator.transaction()
        try:
            async with tx:
                orders = await tx.connection("orders")
                billing = await tx.connection("billing")
                order = await orders.fetchrow(
                    "update orders set state = 'paid' where id = $1 and state = 'new' returning *",
                    order_id,
                )
                if order is None:
                    raise LookupError(f"there is no order {order_id} to be paid")
                await billing.execute(
                    "insert into charges values ($1, $2)", order_id, order["cents"]
                )
                left = await billing.fetchval(
                    "update accounts set cents = cents - $1 where customer = $2 returning cents",
                    order["cents"],
                    order["customer"],
                )
                if left is None or left < 0:
                    raise InsufficientFunds(order["customer"])  # leaves the block: aborts both
        except OutcomeUnknown:
            return Payment(str(tx.id), Outcome.OPEN)
        return Payment(str(tx.id), Outcome.COMMITTED)

    async def settle(self, payment: Payment) -> Payment:
        """Find out what became of a payment whose outcome was not known, deciding it if need be."""
        outcome = await self._coordinator.outcome(payment.txid, force=True)
        return Payment(payment.txid, outcome)
