"""Banks to judge."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paxcommit.drivers import choose_async
from paxcommit.runtime.aio.run import run_statements
from paxcommit.testing import Layout
from paxcommit.testing.bank import open_accounts


@pytest.fixture
async def banks(make_layout: Callable[..., Layout]) -> Layout:
    """Two banks with their accounts, and nothing of paxcommit in them."""
    layout = make_layout(participants=("bank_a", "bank_b"))
    for dsn in layout.participants.values():
        session = await choose_async().connect(dsn, timeout=10)
        try:
            for _ in range(2):  # the second time changes nothing
                await run_statements(session, open_accounts())
        finally:
            session.discard()
    return layout
