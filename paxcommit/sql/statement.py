"""One statement, its result, and the two ways it can fail; what adapters run and generators yield.

SQL on one connection is written once, as a generator that yields `Sql` and is sent a `Result`
(or has `DatabaseError` / `Unanswered` thrown in).  The sync and the async runner both drive it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

__all__ = ["DatabaseError", "Notice", "Result", "Sql", "Statements", "Unanswered"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sql:
    """A statement to run.

    Attributes:
        text: With `args`: one statement with ``$1 …`` placeholders (extended protocol).  Without:
            sent as one simple-query string, which may hold several statements.
        args: Only int, str, bool, None, and lists of int or str.
        notices: Whether notices are wanted as well; listening for them costs something.
    """

    text: str
    args: tuple[Any, ...] = ()
    notices: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """A message beside the result, in the order in which it arrived (WARNING, INFO, …)."""

    severity: str
    sqlstate: str
    message: str


@dataclass(frozen=True, slots=True)
class Result:
    """What the server answered, complete up to ReadyForQuery (R12).

    Attributes:
        rows: Of the last statement; plain tuples of int, str, bool, float, None and lists of them.
        tag: The command tag of the last statement, e.g. ``PREPARE TRANSACTION``.
        notices: In order of arrival; empty unless they were wanted.
    """

    rows: Sequence[tuple[Any, ...]]
    tag: str
    notices: tuple[Notice, ...] = ()


class DatabaseError(Exception):
    """The server answered with an error; the connection is still in step with it.

    Attributes:
        sqlstate: Five characters.
        message: The server's primary message, without credentials.
        detail: The server's detail, or an empty string.
    """

    def __init__(self, sqlstate: str, message: str, detail: str = "") -> None:
        self.sqlstate = sqlstate
        self.message = message
        self.detail = detail
        super().__init__(f"{message} ({sqlstate})" + (f": {detail}" if detail else ""))


class Unanswered(Exception):
    """No complete answer came: broken or closed connection, time-out, cancellation.

    Whether the statement took effect is Unknown (trap 4); the connection is not used again.
    """


Statements: TypeAlias = Generator[Sql, Result, _T]
"""SQL on one connection: yields `Sql`, is sent `Result`, returns ``_T``."""
