"""What is to be seen while the demo runs: a bar and a live line; plain lines in a file."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

__all__ = ["Screen"]


class Screen:
    """A context manager; writes to standard error, so that standard output has the result only.

    Args:
        console: Where to write instead.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=4,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, status="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def act(self, title: str, total: float | None = None) -> None:
        """Begin something.

        Args:
            title: What it is.
            total: When the bar is full; None where nobody knows.
        """
        self._progress.reset(self._task, total=total, description=title, status="")
        self.line(Text(title, "bold"))

    def update(self, completed: float, status: str) -> None:
        """Move the bar, and say what is going on beside it."""
        self._progress.update(self._task, completed=completed, status=status)

    def line(self, text: Text | str) -> None:
        """Say something that stays."""
        self._console.print(text, soft_wrap=True, highlight=False)
