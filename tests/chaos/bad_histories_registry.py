"""The list of bad histories, and how one gets into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paxcommit.testing.chaos.history import HistoryError, read_lines
from paxcommit.testing.chaos.judging import judge
from tests.chaos.bad_histories_story import Story, good


@dataclass(frozen=True)
class Bad:
    """A bad history.

    Attributes:
        name: What was done.
        violation: What the judge must find, and nothing else; or why it must not be read.
        lines: As in a file.
    """

    name: str
    violation: str
    lines: Callable[[], list[bytes]]

    def found(self) -> set[str]:
        """What the judge finds."""
        return find(self.lines())


def find(lines: list[bytes]) -> set[str]:
    """The names of all violations in a history, or why it cannot be read."""
    try:
        history = read_lines(lines)
    except HistoryError as error:
        return {error.flaw}
    return {each.name for each in judge(history).violations}


BAD: dict[str, Bad] = {}
FAIR: dict[str, Callable[[], list[bytes]]] = {}
Edit = Callable[[Story], None]
Cut = Callable[[list[bytes]], list[bytes]]


def bad(violation: str) -> Callable[[Edit], Edit]:
    """Register an edit of the good story."""

    def register(edit: Edit) -> Edit:
        def lines() -> list[bytes]:
            story = good()
            edit(story)
            return story.lines()

        BAD[edit.__name__] = Bad(edit.__name__, violation, lines)
        return edit

    return register


def fair(edit: Edit) -> Edit:
    """Register an edit of the good story that only looks wrong."""

    def lines() -> list[bytes]:
        story = good()
        edit(story)
        return story.lines()

    FAIR[edit.__name__] = lines
    return edit


def cut(flaw: str) -> Callable[[Cut], Cut]:
    """Register an edit of the good file."""

    def register(edit: Cut) -> Cut:
        BAD[edit.__name__] = Bad(edit.__name__, flaw, lambda: edit(good().lines()))
        return edit

    return register
