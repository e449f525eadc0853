"""Fixtures of the trap tests; `Lab` is where it is all explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from paxcommit.testing import Cluster
from tests.traps.lab import Lab
from tests.traps.surfaces import SURFACES, Surface


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    settings = {"max_prepared_transactions": Lab.SLOTS}
    with Cluster(4, settings=settings) as cluster, closing(Lab(cluster)) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """The lab, and a look afterwards that the test left nothing prepared."""
    yield shared_lab
    shared_lab.tidy()
    assert shared_lab.prepared() == []


@pytest.fixture(params=SURFACES, ids=str)
def surface(request: pytest.FixtureRequest) -> Surface:
    chosen: Surface = request.param
    return chosen
