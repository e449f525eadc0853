"""What a DSN may say to asyncpg, checked before asyncpg sees it and without ever echoing it."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from paxcommit.errors import DriverError

__all__ = ["APPLICATION_NAME", "check", "malformed", "server_settings"]

APPLICATION_NAME = "paxcommit"
"""What ``pg_stat_activity`` shows unless the DSN says otherwise."""

_HOST = r"(\[[0-9a-fA-F:.%]*\]|[^@:\[\]]*)(:[0-9]{0,5})?"
_NETLOC = re.compile(rf"([^@]*@)?{_HOST}(,{_HOST})*", re.ASCII)
_OPTION = re.compile(r"[a-z_.]+", re.ASCII)
_LIBPQ_ONLY = frozenset(
    {
        "channel_binding",
        "connect_timeout",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_issuer",
        "oauth_scope",
        "replication",
        "require_auth",
        "requirepeer",
        "requiressl",
        "scram_client_key",
        "scram_server_key",
        "servicefile",
        "sslcertmode",
        "sslcompression",
        "sslcrldir",
        "sslkeylogfile",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""Options of libpq that asyncpg would pass on to the server as settings, which refuses them."""


def check(dsn: str) -> None:
    """Refuse what asyncpg cannot do.

    Raises:
        DriverError: The DSN is no ``postgresql://`` URL, or has an option that asyncpg does not
            know; only the option is named, never the DSN (trap 34).
    """
    try:
        parts = urlsplit(dsn)
        options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError:
        raise malformed() from None
    # An unescaped "@", "/" or "?" in a password makes a piece of it look like a host, a port or an
    # option, and errors name those.
    if (
        parts.scheme not in ("postgresql", "postgres")
        or not _NETLOC.fullmatch(parts.netloc)
        or not all(_OPTION.fullmatch(option) for option in options)
    ):
        raise malformed()
    for option in options:
        if option in _LIBPQ_ONLY:
            raise DriverError(
                f"asyncpg does not know the DSN option {option!r}: remove it, or use psycopg"
            )


def malformed() -> DriverError:
    """The error for a DSN that cannot be read; raise it ``from None``, for causes may echo it."""
    return DriverError(
        "the DSN is not one that asyncpg can read: it takes postgresql://user:password@host/database"
        " (special characters percent-encoded), and files that it names must exist"
    )


def server_settings(dsn: str) -> dict[str, str]:
    """The settings to send beside those of the DSN (asyncpg lets these win)."""
    named = dict(parse_qsl(urlsplit(dsn).query))
    return {} if "application_name" in named else {"application_name": APPLICATION_NAME}
