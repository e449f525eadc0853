"""Which of asyncpg's exceptions are an answer of the server, and which are no answer at all."""

from __future__ import annotations

import asyncpg

from paxcommit.sql.statement import DatabaseError, Unanswered

__all__ = ["is_fatal", "server_error", "translate"]


def server_error(exc: BaseException) -> asyncpg.PostgresError | None:
    """The server's own error in `exc`, or None.

    asyncpg raises classes with an SQLSTATE for errors of its own as well
    (``ConnectionDoesNotExistError``); only a message off the wire has a severity.  A FATAL error
    is the *cause* of such an exception.
    """
    for candidate in (exc, exc.__cause__):
        if isinstance(candidate, asyncpg.PostgresError) and candidate.severity is not None:
            return candidate
    return None


def is_fatal(error: asyncpg.PostgresError) -> bool:
    """Whether the server ended the connection with this error."""
    return (error.severity_en or error.severity) in ("FATAL", "PANIC")


def translate(exc: Exception) -> DatabaseError | Unanswered:
    """Say it in the core's words (trap 4: without the server's word, the effect is Unknown)."""
    error = server_error(exc)
    if error is None:
        return Unanswered(f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__)
    return DatabaseError(error.sqlstate, error.message or "", error.detail or "")
