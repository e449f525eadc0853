"""The asyncpg adapter: `driver`, found by the core through the entry point ``asyncpg``."""

from __future__ import annotations

from paxcommit.ports import Driver
from paxcommit_asyncpg.driver import AsyncpgDriver

__all__ = ["driver"]

driver = Driver(name="asyncpg", aio=AsyncpgDriver(), sync=None)
"""asyncpg has an asyncio surface only."""
