"""Which of psycopg's exceptions are an answer of the server, and which are no answer at all."""

from __future__ import annotations

import re

import psycopg

from paxcommit.sql.statement import DatabaseError, Unanswered

__all__ = ["REFUSED", "is_answer", "translate", "translate_connect"]

REFUSED = "08004"
"""The SQLSTATE for "the server rejected the connection": libpq keeps the true one to itself."""

_SEVERITY = re.compile(r"failed: [^\s:]+:  (?P<message>[^\n]*)")
"""How libpq quotes a server's message (two spaces), and never one of its own."""


def is_answer(exc: BaseException) -> bool:
    """Whether the server said so itself, and the connection goes on."""
    return (
        isinstance(exc, psycopg.Error)
        and exc.diag.sqlstate is not None
        and exc.diag.severity_nonlocalized not in ("FATAL", "PANIC")
    )


def translate(exc: Exception) -> DatabaseError | Unanswered:
    """Say it in the core's words (trap 4: without the server's word, the effect is Unknown)."""
    if isinstance(exc, psycopg.Error) and exc.diag.sqlstate is not None:
        diag = exc.diag
        return DatabaseError(
            exc.diag.sqlstate, diag.message_primary or "", diag.message_detail or ""
        )
    return Unanswered(f"{type(exc).__name__}: {exc}".strip())


def translate_connect(exc: Exception) -> DatabaseError | Unanswered:
    """As `translate`, for an attempt to connect: libpq gives no SQLSTATE there, only a text."""
    quoted = _SEVERITY.search(str(exc)) if isinstance(exc, psycopg.OperationalError) else None
    if quoted is not None:
        return DatabaseError(REFUSED, quoted["message"])
    return translate(exc)
