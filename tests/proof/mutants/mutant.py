"""What a mutant is: a named replacement of source text, and the tools that are to notice it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "Edit",
    "Killer",
    "Mutant",
    "Stale",
    "apply",
    "crashpoints",
    "model",
    "mutant",
    "simulate",
    "stale",
    "test",
]

Tool = Literal["model", "simulate", "crashpoints", "test"]


class Stale(Exception):
    """The text that a mutant replaces is not there exactly once: the catalogue lags behind."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement.

    Attributes:
        file: Below the root.
        old: Must stand there exactly once.
        new: Takes its place.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Killer:
    """One run of a tool.

    Attributes:
        tool: Which.
        what: The model's scope, the number of seeds, pytest's node ids.
    """

    tool: Tool
    what: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.tool, *self.what))


@dataclass(frozen=True, slots=True)
class Mutant:
    """A rule taken out.

    Attributes:
        name: What it does wrong.
        cites: Rules (``R10``) and traps (``trap 20``).
        cost: What it would cost whoever runs it.
        edits: Where.
        killers: In the order in which they are tried, the cheapest first.
        area: Of the catalogue.
    """

    name: str
    cites: str
    cost: str
    edits: tuple[Edit, ...]
    killers: tuple[Killer, ...]
    area: str = ""


def mutant(
    name: str,
    cites: str,
    cost: str,
    *edits: tuple[str, str, str],
    by: Sequence[Killer],
) -> Mutant:
    """Spell a mutant; an edit is ``(file, old, new)``."""
    return Mutant(name, cites, cost, tuple(Edit(*each) for each in edits), tuple(by))


def model(scope: str) -> Killer:
    """The model checker, in one scope."""
    return Killer("model", (scope,))


def simulate(seeds: int) -> Killer:
    """The simulation, from seed 0 on."""
    return Killer("simulate", (str(seeds),))


def crashpoints() -> Killer:
    """The coordinator killed at every failpoint, on real servers."""
    return Killer("crashpoints", ())


def test(*nodes: str) -> Killer:
    """Directed tests; one of them must fail."""
    return Killer("test", nodes)


def stale(root: Path, mutant: Mutant) -> str | None:
    """Say which text of the mutant is not there exactly once; None if all are."""
    for edit in mutant.edits:
        path = root / edit.file
        found = path.read_text(encoding="utf-8").count(edit.old) if path.is_file() else 0
        if edit.old == edit.new:
            return f"{edit.file}: nothing is changed by {edit.old.strip()[:60]!r}"
        if found != 1:
            return f"{edit.file} has {found} times {edit.old.strip()[:60]!r}"
    return None


def apply(root: Path, mutant: Mutant) -> None:
    """Change the tree below `root`.

    Raises:
        Stale: It does not fit the tree, or makes a Python file that is no Python.
    """
    for edit in mutant.edits:
        path = root / edit.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if text.count(edit.old) != 1 or edit.old == edit.new:
            raise Stale(stale(root, mutant) or f"{edit.file}: two edits meet")
        text = text.replace(edit.old, edit.new)
        if path.suffix == ".py":
            try:
                compile(text, edit.file, "exec")
            except SyntaxError as error:
                raise Stale(f"{edit.file}: {error}") from error
        path.unlink()  # it may be a link to the original
        path.write_text(text, encoding="utf-8")


test.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test
