"""Several real PostgreSQL servers for the length of a ``with`` block."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from paxcommit.errors import ConfigurationError, UsageError
from paxcommit.testing._account import remove_folder, server_account
from paxcommit.testing._addresses import LOOPBACK
from paxcommit.testing.backends import Backend, choose_backend
from paxcommit.testing.local import LocalServer
from paxcommit.testing.server import Server, Setting
from paxcommit.testing.settings import server_settings

__all__ = ["Cluster"]


class Cluster:
    """Independent PostgreSQL servers, started together and gone without a trace afterwards.

    A context manager that blocks only on entry and exit, so it suits async tests as well.  The
    servers end, and their files go, however this process ends (but containers outlive its SIGKILL
    unless Ryuk, the reaper of testcontainers, is enabled).

    Args:
        servers: How many.
        backend: Where they come from; None follows ``PAXCOMMIT_TEST_POSTGRES``, or takes the
            first that is there of ``embedded``, ``local`` and ``containers``.
        settings: Of ``postgresql.conf``, for every server.
        password: The superuser's.  None: servers on this machine trust every local connection,
            and containers get a random one.

    Attributes:
        servers: In order; named ``s1``, ``s2``, …  Empty before entry and after exit.
    """

    def __init__(
        self,
        servers: int = 3,
        *,
        backend: Backend | None = None,
        settings: Mapping[str, Setting] | None = None,
        password: str | None = None,
    ) -> None:
        if servers < 1:
            raise ConfigurationError("a cluster has at least one server")
        self.servers: tuple[Server, ...] = ()
        self._names = [f"s{number}" for number in range(1, servers + 1)]
        self._backend = backend
        self._settings = settings
        self._password = password
        self._folder: Path | None = None
        self._owner = os.getpid()

    def start(self) -> None:
        """Start all servers at once and wait until they take connections.

        Raises:
            UsageError: They are started already.
            ConfigurationError: There is no PostgreSQL to start; says what to install.
            ClusterError: One did not start; the end of its log is in the message.
        """
        if self.servers:
            raise UsageError("the cluster is started already")
        self._owner = os.getpid()
        atexit.register(self.close)  # of containers, the warden knows nothing
        try:
            self._make()
            for server in self.servers:
                server.launch()
            for server in self.servers:
                server.await_ready()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all servers and remove their files; harmless when repeated.

        In a forked child nothing is done: the servers are the parent's.
        """
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        servers, self.servers = self.servers, ()
        with ExitStack() as stack:  # each step is taken, whatever the others raise
            stack.callback(self._remove_folder)
            for server in servers:
                stack.callback(server.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getitem__(self, name: str) -> Server:
        """Return the server called `name`."""
        for server in self.servers:
            if server.name == name:
                return server
        raise KeyError(name)

    def _remove_folder(self) -> None:
        if self._folder is not None:
            remove_folder(self._folder)
            self._folder = None

    def _make(self) -> None:
        account = server_account()
        choice = choose_backend(self._backend, account)
        if choice.installation is None:
            from paxcommit.testing.containers import ContainerServer

            self.servers = tuple(
                ContainerServer(name, settings=self._settings, password=self._password)
                for name in self._names
            )
            return
        self._folder = account.make_folder("paxcommit-servers-")
        local = [
            LocalServer(
                name,
                self._folder,
                installation=choice.installation,
                account=account,
                settings={
                    "listen_addresses": LOOPBACK,
                    "unix_socket_directories": "",
                    **server_settings(choice.installation.version, self._settings),
                },
                password=self._password,
            )
            for name in self._names
        ]
        self.servers = tuple(local)
        for server in local:
            server.initialise()
