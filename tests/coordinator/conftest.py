"""Fixtures of the tests that commit, on every surface.

One loop and one coordinator per module and surface: opening one is most of a test's time, and
transactions share nothing but it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from paxcommit.testing import Cluster, Layout

from .shop import PARTICIPANTS, Shop
from .surfaces import SURFACES, Surface


@pytest.fixture(scope="module", params=SURFACES.values(), ids=lambda surface: surface.name)
def surface(request: pytest.FixtureRequest) -> Surface:
    """asyncpg, psycopg, and psycopg without asyncio."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def shop(cluster: Cluster) -> Iterator[Shop]:
    """Databases on the shared servers for the whole folder; every test has its own txids."""
    suffix = f"_{os.getpid()}_{secrets.token_hex(2)}"
    layout = Layout.create(cluster, participants=PARTICIPANTS, suffix=suffix)
    shop = Shop.create(layout, deadline=30.0)
    yield shop
    shop.close()
    layout.drop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def coordinator(surface: Surface, shop: Shop) -> AsyncIterator[Any]:
    """Open on `shop`, with a deadline that no test reaches."""
    async with surface.open(shop.settings) as coordinator:
        yield coordinator


@pytest.fixture
def note(surface: Surface) -> Callable[..., Any]:
    """Write a transaction's note at some participants, over the transaction's connections."""

    async def write(tx: Any, *participants: str) -> None:
        for name in participants:
            connection = await tx.connection(name)
            await surface.run(connection, f"insert into note values ('{tx.id}')")

    return write


@pytest_asyncio.fixture(loop_scope="module")
async def connect(surface: Surface, shop: Shop) -> AsyncIterator[Callable[..., Any]]:
    """Open connections of the user's own, as superuser by default; closed after the test."""
    opened = []

    async def connect(name: str, *, user: str | None = None, autocommit: bool = True) -> Any:
        place = shop.place(name)
        dsn = place.server.dsn(place.database, user=user)
        opened.append(await surface.connect(dsn, autocommit=autocommit))
        return opened[-1]

    yield connect
    for raw in opened:
        await surface.close(raw)
