"""Clients that move money between two banks until they are killed; settings from PAXCOMMIT_*.

Every transfer writes its id in both banks, so whoever reads the two tables can tell whether one was
ever half committed.
"""

from __future__ import annotations

import asyncio
import random

from paxcommit import AsyncCoordinator, OutcomeUnknown, PaxcommitError, TransactionAborted

BANKS = ("bank_a", "bank_b")
ACCOUNTS = 100
CLIENTS = 8
SCHEMA = f"""
    CREATE TABLE IF NOT EXISTS account (id integer PRIMARY KEY, balance bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS transfer (txid text PRIMARY KEY, amount bigint NOT NULL);
    INSERT INTO account SELECT id, 1000 FROM generate_series(1, {ACCOUNTS}) AS id
    ON CONFLICT DO NOTHING;
"""


async def open_banks(coordinator: AsyncCoordinator) -> None:
    """Make both banks' tables, unless they are there."""
    for bank in BANKS:
        async with coordinator.transaction() as tx:
            connection = await tx.connection(bank)
            await connection.execute(SCHEMA)


async def transfer(coordinator: AsyncCoordinator) -> None:
    """Move some money from one bank to the other, either way."""
    amount = random.randint(-100, 100)  # noqa: S311 - play money
    async with coordinator.transaction() as tx:
        for bank, change in zip(BANKS, (-amount, amount), strict=True):
            connection = await tx.connection(bank)
            account = random.randint(1, ACCOUNTS)  # noqa: S311
            await connection.execute(
                "UPDATE account SET balance = balance + $1 WHERE id = $2", change, account
            )
            await connection.execute("INSERT INTO transfer VALUES ($1, $2)", str(tx.id), change)


async def client(coordinator: AsyncCoordinator) -> None:
    """Make one transfer after the other."""
    while True:
        try:
            await transfer(coordinator)
        except TransactionAborted as aborted:
            print("aborted:", aborted)
        except OutcomeUnknown as unknown:
            print("unknown:", unknown)  # recovery finishes it; never done again by us
        except PaxcommitError as error:
            print("not begun:", error)
            await asyncio.sleep(1)


async def main() -> None:
    """Run the clients."""
    async with AsyncCoordinator.open(driver="asyncpg") as coordinator:
        await open_banks(coordinator)
        print(f"{CLIENTS} clients are moving money")
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(client(coordinator))


if __name__ == "__main__":
    asyncio.run(main())
