"""Free TCP ports that stay free while a server is down."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from paxcommit.errors import ClusterError

__all__ = ["LOOPBACK", "free_port"]

LOOPBACK = "127.0.0.1"

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15_000
_TRIES = 200


def free_port() -> int:
    """Return a TCP port of the loopback address on which nobody listens.

    It lies below the ports that the system gives to outgoing connections.  From among those, a
    stopped server's port is taken by the next best client, and a client that keeps trying to
    connect to it in the end connects to itself.

    Raises:
        ClusterError: None was found.
    """
    highest = min(_first_outgoing(), 65_536)
    for _ in range(_TRIES):
        port = _LOWEST + secrets.randbelow(highest - _LOWEST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ClusterError(f"no free TCP port between {_LOWEST} and {highest}")


def _first_outgoing() -> int:
    try:
        first = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        first = 32_768
    return first if first > _LOWEST + 1_000 else 65_536
