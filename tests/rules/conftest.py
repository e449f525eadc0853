"""Fixtures of the tests of single rules on real servers."""

from __future__ import annotations

import pytest

from ..coordinator.conftest import connect, coordinator, note, shop
from ..coordinator.surfaces import SURFACES, Surface

__all__ = ["connect", "coordinator", "note", "shop"]


@pytest.fixture(scope="module", params=["asyncpg", "blocking"])
def surface(request: pytest.FixtureRequest) -> Surface:
    """One of either runner; what the drivers differ in is the contract suite's matter."""
    return SURFACES[request.param]
