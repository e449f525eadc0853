"""The plugin's own fixtures, on the servers that all our tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paxcommit.testing import Cluster
from paxcommit.testing.plugin.supply import Supply


@pytest.fixture(scope="session")
def _paxcommit_supply(cluster: Cluster) -> Iterator[Supply]:
    """The plugin starts servers of its own, which `test_runs` has it do; here there are some."""
    return Supply(lambda _: cluster)
