"""Fixtures of the tests of single rules on real servers."""

from __future__ import annotations

from ..coordinator.conftest import connect, coordinator, note, shop, surface

__all__ = ["connect", "coordinator", "note", "shop", "surface"]
