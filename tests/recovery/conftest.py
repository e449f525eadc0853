"""Fixtures of the tests in which processes die."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from ..coordinator.conftest import connect, coordinator, note, shop
from ..coordinator.shop import Shop
from ..coordinator.surfaces import SURFACES, Surface
from .crew import Crew, Member

__all__ = ["connect", "coordinator", "note", "shop"]


@pytest.fixture(scope="module")
def surface() -> Surface:
    """One is enough: what is killed here is the process, and what is judged are the databases."""
    return SURFACES["asyncpg"]


@pytest.fixture(scope="session")
def warm_crew() -> Iterator[Crew]:
    """One warm process for the whole run."""
    with Crew() as crew:
        yield crew


@pytest_asyncio.fixture(loop_scope="module")
async def start(warm_crew: Crew, shop: Shop) -> AsyncIterator[Callable[..., Any]]:
    """Start a process; whoever is left of them is killed after the test."""

    async def start(job: str, *, deadline: float = 600.0, **order: Any) -> Member:
        settings = shop.with_options(deadline=deadline)
        return await warm_crew.start(job, settings, shop, **order)

    yield start
    await warm_crew.dismiss()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recovery(surface: Surface, shop: Shop) -> AsyncIterator[Any]:
    """A recoverer, with a deadline that only matters for how long it tries."""
    async with surface.recovery(shop.settings) as recovery:
        yield recovery


@pytest.fixture(autouse=True)
def nothing_is_left_prepared(shop: Shop) -> Iterator[None]:
    """No test leaves a branch to the next one, and none that fails spoils another."""
    yield
    left = shop.prepared()
    for name in left:
        for [gid] in shop.look(
            name, "select gid from pg_prepared_xacts where database = current_database()"
        ):
            shop.look(name, f"rollback prepared '{gid}'")
    assert left == set()
