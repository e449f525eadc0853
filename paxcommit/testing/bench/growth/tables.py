"""The series as tables in Markdown, for docs/growth.md and for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["tabulate"]

_SERIES = (
    ("by_participants", "participants", "N"),
    ("by_failures", "failures", "F"),
    ("by_backlog", "backlog", "in doubt"),
    ("by_rows", "rows", "rows"),
)


def tabulate(document: dict[str, Any]) -> str:
    """All of it; ratios are to the bare driver in the same place."""
    parts: list[str] = []
    for series, key, label in _SERIES:
        parts.append(f"### {series.replace('_', ' ')}\n\n" + _series(document[series], key, label))
    parts.append("### exact counts\n\n" + _counts(document["counts"]))
    if document["machines"]:
        parts.append("### more machines\n\n" + _machines(document["machines"]))
    return "\n\n".join(parts)


def _series(points: Sequence[dict[str, Any]], key: str, label: str) -> str:
    rows = []
    for number, clients in sorted({(p[key], p["clients"]) for p in points}):
        here = {p["system"]: p for p in points if (p[key], p["clients"]) == (number, clients)}
        applied, decided = here["paxcommit-applied"], here["paxcommit-decided"]
        row = [
            f"{number:,}",
            str(clients),
            f"{here['bare']['commit_p50_ms']:.2f}",
            _times(decided["vs_bare"]["p50"]),
            _times(applied["vs_bare"]["p50"]),
            _times(applied["vs_bare"]["throughput"]),
        ]
        if "heap_bytes" in applied:
            row.append(f"{applied['heap_bytes'] / 1e6:,.1f} + {applied['index_bytes'] / 1e6:,.1f}")
        if any("recovered_in_seconds" in p for p in points):
            recovered = here["bare"].get("recovered_in_seconds")
            row.append("" if recovered is None else f"{recovered:.2f}")
        rows.append(row)
    head = [label, "clients", "bare p50, ms", "decided p50", "applied p50", "throughput"]
    head += ["table + index, MB"] if "heap_bytes" in points[0] else []
    head += ["recovered, s"] if any("recovered_in_seconds" in p for p in points) else []
    return _table(head, rows)


def _counts(points: Sequence[dict[str, Any]]) -> str:
    return _table(
        ["N", "F", "round trips", "statements", "WAL flushes", "WAL bytes, about"],
        [
            [str(p["participants"]), str(p["failures"])]
            + [
                f"{p[f'participant_{what}']:g} + {p[f'acceptor_{what}']:g}"
                for what in ("round_trips", "statements", "flushes", "wal_bytes")
            ]
            for p in points
        ],
    )


def _machines(found: dict[str, Any]) -> str:
    kinds = ("client process", "participant", "acceptor")
    rows = []
    for system, machine in found.items():
        limits = [machine["limits"].get(kind) for kind in kinds]
        cpu = [machine["cpu_ms"][kind.split()[0]] for kind in kinds]
        rows.append(
            [system]
            + [f"{ms:.2f}" for ms in cpu]
            + ["" if limit is None else f"{limit:,}" for limit in limits]
        )
    head = ["system", *(f"{kind}, ms" for kind in kinds), *(f"{kind}, /s" for kind in kinds)]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
