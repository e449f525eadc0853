"""What a command came to: for a person, for a script, and as an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from paxcommit.cli.exits import Exit

__all__ = ["Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """A command's result.

    Attributes:
        code: The exit code.
        document: For ``--json``: strings, numbers, booleans, None, lists and mappings of them.
        text: For a person; a plain string is printed as it is, unwrapped, with its own line ends.
    """

    code: Exit
    document: Mapping[str, Any]
    text: RenderableType
