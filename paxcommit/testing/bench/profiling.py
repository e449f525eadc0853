"""Where the CPU went, from a profile: by function and by package."""

from __future__ import annotations

import cProfile
import pstats
from collections import defaultdict
from pathlib import Path

__all__ = ["functions", "packages"]

_WORST = 10
_SHARE_WORTH_TELLING = 0.005


def functions(profile: cProfile.Profile) -> list[tuple[str, float, float]]:
    """The worst ten: name, share of the time spent in itself, and with what it calls."""
    rows = _rows(profile)
    total = sum(own for _, _, own, _ in rows) or 1.0
    worst = sorted(rows, key=lambda row: -row[2])[:_WORST]
    return [(_spell(file, name), own / total, full / total) for file, name, own, full in worst]


def packages(profile: cProfile.Profile) -> list[tuple[str, float]]:
    """Shares of the time, the largest first; a function in C counts for where it is called from."""
    owned: defaultdict[str, float] = defaultdict(float)
    for file, _, own, _ in _rows(profile, c_for_callers=True):
        owned[_package(file)] += own
    total = sum(owned.values()) or 1.0
    return [
        (name, own / total)
        for name, own in sorted(owned.items(), key=lambda item: -item[1])
        if own / total >= _SHARE_WORTH_TELLING
    ]


def _rows(
    profile: cProfile.Profile, *, c_for_callers: bool = False
) -> list[tuple[str, str, float, float]]:
    """File, name, own and full seconds of every function."""
    # typeshed leaves `stats` out
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    rows: list[tuple[str, str, float, float]] = []
    for (file, _, name), (_, _, own, full, callers) in stats.items():
        if c_for_callers and file == "~" and callers:
            rows += [(caller[0], name, times[2], times[3]) for caller, times in callers.items()]
        else:
            rows.append((file, name, own, full))
    return rows


def _spell(file: str, name: str) -> str:
    return name if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{name}"


def _package(file: str) -> str:
    """``asyncpg``, ``asyncio``, ``paxcommit/protocol``, ``paxcommit_asyncpg``, …"""
    path = Path(file)
    parts = path.parts
    for root in ("site-packages", "adapters"):
        if root in parts:
            return parts[parts.index(root) + 1].removesuffix(".py")
    if "paxcommit" in parts:
        inside = parts[len(parts) - 1 - parts[::-1].index("paxcommit") :]
        return "/".join(inside[:2]).removesuffix(".py")
    if file in ("~", "<string>"):  # the latter: what dataclasses generate
        return "built-in"
    return path.parent.name if not path.parent.name.startswith("python") else path.stem
