"""The psycopg 3 adapter: `driver`, found by the core through the entry point ``psycopg``."""

from __future__ import annotations

from paxcommit.ports import Driver
from paxcommit_psycopg.driver import PsycopgAsyncDriver, PsycopgSyncDriver

__all__ = ["driver"]

driver = Driver(name="psycopg", aio=PsycopgAsyncDriver(), sync=PsycopgSyncDriver())
"""psycopg has both surfaces."""
