"""The table of mutants: on the screen, in the documents, in one line of JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.proof.mutants.catalogue.whole import MUTANTS
from tests.proof.mutants.hunt import Fate, Report
from tests.proof.mutants.tree import ROOT

__all__ = ["PAGE", "page", "show", "summary", "write_page"]

PAGE = ROOT / "docs" / "mutants.md"

_ROW = re.compile(r"^\| `([^`]+)` \|.*\n", re.MULTILINE)

_HEAD = """\
# Mutants

Each line is one rule taken out of the source, by name, and the cheapest tool that notices:
`make mutants` makes them one after the other and fails if one survives. "After" is how much the
tool had looked at by then. The same run lets the unchanged source pass.

Written by `python -m tests.proof.mutants --write-docs`; the catalogue is in
`tests/proof/mutants/catalogue/`.
"""


def show(fate: Fate) -> None:
    """Print one fate."""
    how = f"{_by(fate)}, {fate.after}" if fate.by else fate.fate.upper()
    said = fate.said.replace("\n", " ")[:200]
    print(f"{fate.seconds:6.1f} s  {fate.mutant.name}: {how}: {said}", flush=True)


def page(report: Report, known: Mapping[str, str] = MappingProxyType({})) -> str:
    """The table as a document.

    Args:
        report: Of a hunt.
        known: Lines of mutants that were not hunted this time, by name.
    """
    lines = {**known, **{name: _line(fate) for name, fate in report.fates.items()}}
    text = [_HEAD]
    for area in dict.fromkeys(mutant.area for mutant in MUTANTS.values()):
        names = [name for name, each in MUTANTS.items() if each.area == area and name in lines]
        if not names:
            continue
        text += [f"\n## {area[0].upper()}{area[1:]}\n\n"]
        text += ["| Mutant | Rule | What it would cost | Killed by | After |\n"]
        text += ["|---|---|---|---|---|\n"]
        text += [lines[name] for name in names]
    return "".join(text)


def write_page(report: Report) -> None:
    """Write `PAGE`; it keeps what it says of mutants that were not hunted this time."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    known = {found[1]: found[0] for found in _ROW.finditer(old)}
    PAGE.write_text(page(report, known), encoding="utf-8")


def summary(report: Report, ok: bool, histories: int) -> dict[str, Any]:
    """The closing line."""
    table = {
        name: {
            "fate": fate.fate,
            "by": str(fate.by) if fate.by else None,
            "after": fate.after,
            "seconds": round(fate.seconds, 1),
            "said": fate.said[:200],
        }
        for name, fate in report.fates.items()
    }
    return {
        "ok": ok,
        "mutants": len(report.fates),
        "killed": report.killed,
        "histories": histories,
        "unsound": dict(report.unsound),
        "table": table,
    }


def _by(fate: Fate) -> str:
    if fate.by is None:
        return fate.fate
    if fate.by.tool != "test":
        return str(fate.by)
    return "; ".join(node.rpartition("::")[2] for node in fate.by.what)


def _line(fate: Fate) -> str:
    mutant = fate.mutant
    by = _by(fate).replace("|", "/")
    return f"| `{mutant.name}` | {mutant.cites} | {mutant.cost} | {by} | {fate.after} |\n"
