"""What a DSN may say to psycopg, checked before it connects and without ever echoing it."""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from paxcommit.errors import DriverError

__all__ = ["check", "options"]

APPLICATION_NAME = "paxcommit"
"""What ``pg_stat_activity`` shows unless the DSN (or ``PGAPPNAME``) says otherwise."""

_HOST = r"(\[[0-9a-fA-F:.%]*\]|[^@:\[\]]*)(:[0-9]{0,5})?"
_NETLOC = re.compile(rf"([^@]*@)?{_HOST}(,{_HOST})*", re.ASCII)
_OPTION = re.compile(r"[a-z_]+", re.ASCII)


def check(dsn: str) -> None:
    """Refuse what libpq cannot do.

    Raises:
        DriverError: The DSN is no ``postgresql://`` URL, or has an option that libpq does not
            know; only the option is named, never the DSN, and libpq's own error, which echoes it,
            is not chained (trap 34).
    """
    try:
        parts = urlsplit(dsn)
        named = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError:
        raise _malformed() from None
    # An unescaped "@", "/" or "?" in a password makes a piece of it look like a host, a port or an
    # option, and errors name those.
    if (
        parts.scheme not in ("postgresql", "postgres")
        or not _NETLOC.fullmatch(parts.netloc)
        or not all(_OPTION.fullmatch(name) for name in named)
    ):
        raise _malformed()
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"ssl"}
    for option in named:
        if option not in known:
            raise DriverError(
                f"psycopg does not know the DSN option {option!r}: remove it, or check its spelling"
            )
    try:
        conninfo_to_dict(dsn)
    except psycopg.Error:
        raise _malformed() from None


def options(timeout: float) -> dict[str, Any]:
    """Connection parameters to go with a DSN.

    Args:
        timeout: Seconds to connect; psycopg takes whole ones and at least two, for each address.
    """
    return {
        "connect_timeout": max(2, math.ceil(timeout)),
        "fallback_application_name": APPLICATION_NAME,
        "client_encoding": "utf8",  # or a database in SQL_ASCII answers text with bytes
    }


def _malformed() -> DriverError:
    return DriverError(
        "the DSN is not one that psycopg can read: it takes postgresql://user:password@host/database"
        " (special characters percent-encoded)"
    )
