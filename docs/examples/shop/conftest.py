"""The shop's databases and the shop itself, for its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from shop import ACCOUNTS, CHARGES, ORDERS, Shop

from paxcommit import AsyncCoordinator, Settings
from paxcommit.testing import Layout


@pytest.fixture
def databases(paxcommit_layout: Layout) -> Layout:
    """Order 7 of Ada, who has 5000 cents; order 8 of Bob, who has nothing."""
    paxcommit_layout.place("orders").execute(
        ORDERS, "insert into orders values (7, 'ada', 4200), (8, 'bob', 100)"
    )
    paxcommit_layout.place("billing").execute(
        ACCOUNTS, CHARGES, "insert into accounts values ('ada', 5000), ('bob', 0)"
    )
    return paxcommit_layout


@pytest_asyncio.fixture
async def shop(databases: Layout, paxcommit_settings: Settings) -> AsyncIterator[Shop]:
    """The shop, at work in this process."""
    async with AsyncCoordinator.open(paxcommit_settings, driver="asyncpg") as coordinator:
        yield Shop(coordinator)
