"""Where a DSN points to, without who logs in and how: what may be compared, shown and logged.

A DSN carries a password, and a malformed one may carry it anywhere, so nothing of a DSN is ever
echoed from here but host, port and database of a well-formed one (trap 34).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from paxcommit.errors import ConfigurationError

__all__ = ["Address", "parse_dsn"]

_DEFAULT_PORT = 5432
_LOOPBACK = frozenset({"localhost", "ip6-localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1"})


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """One database on one server, normalised such that equal spellings compare equal.

    Attributes:
        host: Lower case; every name of the loopback interface is ``localhost``; a directory for a
            Unix socket.  Several, separated by commas, for a server with standbys.
        port: TCP port, as many as hosts.
        database: Its name.
    """

    host: str
    port: str
    database: str

    @property
    def server(self) -> str:
        """Host and port, e.g. ``db1:5432``."""
        return ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in zip(self.host.split(","), self.port.split(","), strict=True)
        )

    @property
    def several_hosts(self) -> bool:
        """Whether the DSN leaves open which of several servers is meant."""
        return "," in self.host

    def __str__(self) -> str:
        return f"{self.server}/{self.database}"


def parse_dsn(dsn: str, what: str) -> Address:
    """Find out where `dsn` points to.

    Args:
        dsn: ``postgresql://user:password@host:port/database?option=value``.
        what: Whose DSN it is, for the message.

    Raises:
        ConfigurationError: It is malformed; the message names the part, never its content.
    """
    form = "use postgresql://user:password@host:5432/database"
    if "://" not in dsn:
        raise ConfigurationError(f"the DSN of {what} is not a URL: {form}")
    scheme = dsn.partition("://")[0]
    if scheme not in ("postgresql", "postgres"):
        hint = " (a driver suffix such as '+asyncpg' does not belong here)" if "+" in scheme else ""
        raise ConfigurationError(
            f"the DSN of {what} does not begin with postgresql://{hint}: {form}"
        )
    if "#" in dsn:
        raise ConfigurationError(f"the DSN of {what} contains '#': spell it %23")
    parsed = _split(dsn)
    if parsed is None:
        raise ConfigurationError(
            f"the DSN of {what} is not a well-formed URL with options after '?' like name=value: "
            f"percent-encode special characters in the password"
        )
    netloc, path, query = parsed
    hosts, ports = _hosts(query.get("host") or netloc.rpartition("@")[2], query, what)
    database = query.get("dbname") or unquote(path.removeprefix("/"))
    if not database:
        raise ConfigurationError(f"the DSN of {what} names no database: {form}")
    if "/" in database or "@" in database:
        # What stands here is most likely the rest of a password with a '/' in it.
        raise ConfigurationError(
            f"the DSN of {what} has '/' or '@' in the database's place: percent-encode special "
            f"characters in the password"
        )
    return Address(",".join(hosts), ",".join(ports), database)


def _split(dsn: str) -> tuple[str, str, dict[str, str]] | None:
    """Host part, path and options; None, and no chained error that would echo it, if malformed."""
    try:
        parts = urlsplit(dsn)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        return None
    return parts.netloc, parts.path, query


def _hosts(netloc: str, query: dict[str, str], what: str) -> tuple[list[str], list[str]]:
    """Split ``host1:port1,host2`` and normalise each."""
    hosts, ports = [], []
    for item in netloc.split(","):
        if item.startswith("["):
            host, _, rest = item[1:].partition("]")
            port = rest.removeprefix(":")
        elif item.startswith(("/", "%2F", "%2f")):
            host, port = item, ""
        else:
            host, _, port = item.partition(":")
        host = unquote(host)
        if not host:
            raise ConfigurationError(
                f"the DSN of {what} names no host: use postgresql://user:password@host:5432/database"
            )
        port = port or query.get("port", "") or str(_DEFAULT_PORT)
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ConfigurationError(
                f"the DSN of {what} has no number between 1 and 65535 in the port's place: "
                f"percent-encode special characters in the password"
            )
        host = host if host.startswith("/") else host.lower().rstrip(".")
        hosts.append("localhost" if host in _LOOPBACK else host)
        ports.append(str(int(port)))
    return hosts, ports
