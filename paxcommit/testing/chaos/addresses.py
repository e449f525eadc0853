"""DSNs, pointed at a proxy in place of the server that they name."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from paxcommit.dsn import parse_dsn
from paxcommit.testing.chaos.proxy import Upstream

__all__ = ["labelled", "needs_own_name", "redirected", "upstream_of"]

_PLACES = ("host", "hostaddr", "port")


def needs_own_name(dsn: str) -> bool:
    """Whether the certificate has to match the host's name, which a proxy does not have."""
    options = dict(parse_qsl(urlsplit(dsn).query))
    return options.get("sslmode") == "verify-full" or options.get("sslrootcert") == "system"


def upstream_of(dsn: str) -> Upstream:
    """Where a DSN leads to; of several hosts the first.

    Raises:
        ConfigurationError: It is malformed.
    """
    address = parse_dsn(dsn, "a server")
    host, port = address.host.split(",")[0], int(address.port.split(",")[0])
    if host.startswith("/"):
        return Upstream(f"{unquote(host)}/.s.PGSQL.{port}", port)
    return Upstream(host, port)


def redirected(dsn: str, port: int) -> str:
    """The same database and credentials, through 127.0.0.1 and `port`."""
    parts = urlsplit(dsn)
    user, at, _ = parts.netloc.rpartition("@")
    query = [(key, value) for key, value in parse_qsl(parts.query) if key not in _PLACES]
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}", query=urlencode(query)))


def labelled(dsn: str, name: str) -> str:
    """The same, showing `name` in ``pg_stat_activity``."""
    parts = urlsplit(dsn)
    query = [(k, v) for k, v in parse_qsl(parts.query) if k != "application_name"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("application_name", name)])))
