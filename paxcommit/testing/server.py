"""What every kind of test server promises: one real PostgreSQL, to stop, kill and start again."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import PurePath
from typing import Literal, TypeAlias
from urllib.parse import quote

from paxcommit.errors import ClusterError
from paxcommit.testing.admin import Rows, admin_execute

__all__ = ["Server", "Setting", "StopMode"]

StopMode = Literal["smart", "fast", "immediate"]
Setting: TypeAlias = str | int | bool

_RELOAD_SECONDS = 30.0


class Server(ABC):
    """One PostgreSQL server of a `Cluster`, reachable over TCP on this machine.

    Attributes:
        name: Within its cluster: ``s1``, ``s2``, …
        host: Where it listens.
        port: Where it listens; the same after every restart.
        user: The superuser.
        password: The superuser's, or None where the server trusts every local connection.
        version: The major version, e.g. 18.
    """

    name: str
    host: str
    port: int
    user: str = "postgres"
    password: str | None
    version: int

    @property
    @abstractmethod
    def data_dir(self) -> PurePath:
        """The data directory (for a container: inside of it)."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The postmaster's process id.

        Raises:
            UsageError: The server is not running.
        """

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether the postmaster runs."""

    @abstractmethod
    def launch(self) -> None:
        """Begin to start, without waiting; `await_ready` must follow.  For many at once."""

    @abstractmethod
    def await_ready(self) -> None:
        """Wait until the server takes connections.

        Raises:
            ClusterError: It did not start; the end of its log is in the message.
        """

    def start(self) -> None:
        """Start the server and wait until it takes connections.

        Raises:
            UsageError: It is running.
            ClusterError: It did not start; the end of its log is in the message.
        """
        self.launch()
        self.await_ready()

    @abstractmethod
    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and wait until all its processes are gone.

        Args:
            mode: ``immediate`` is a crash that the operating system survives: recovery from WAL
                follows at the next start.  ``smart`` waits for clients to leave by themselves.

        Raises:
            UsageError: It is not running.
            ClusterError: It did not end in time.
        """

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL the postmaster, and wait until its children have followed it.

        Raises:
            UsageError: It is not running.
            ClusterError: Some process did not end in time.
        """

    def restart(self, mode: StopMode = "fast") -> None:
        """`stop`, then `start`; same port, same data.

        Raises:
            UsageError, ClusterError: As `stop` and `start`.
        """
        self.stop(mode)
        self.start()

    @abstractmethod
    def configure(self, **settings: Setting | None) -> None:
        """Change settings of ``postgresql.conf``; None takes a setting back to its default.

        A running server has reloaded them on return: connections made from now on see them.
        Settings that need a restart take effect at the next one.

        Raises:
            ConfigurationError: A name cannot be one; nothing was changed.
        """

    @abstractmethod
    def log(self) -> str:
        """Everything the server has logged so far."""

    @abstractmethod
    def copy_data_dir(self) -> PurePath:
        """Copy the data directory of the stopped server, as a backup would; for `restore`.

        Raises:
            UsageError: It is running.
        """

    @abstractmethod
    def restore(self, copy: PurePath) -> None:
        """Put a copy made by `copy_data_dir` in the place of the stopped server's data directory.

        Settings made by `configure` stay as they are.

        Raises:
            UsageError: It is running.
        """

    @abstractmethod
    def close(self) -> None:
        """End the server for good, whatever state it is in.  Its data is lost."""

    def dsn(
        self, database: str = "postgres", *, user: str | None = None, password: str | None = None
    ) -> str:
        """Return a ``postgresql://`` URL.

        Args:
            database: To connect to.
            user: The superuser if None.
            password: The superuser's own if `user` is None, else none.
        """
        if user is None:
            user, password = self.user, self.password if password is None else password
        secret = "" if password is None else f":{quote(password, safe='')}"
        where = f"{self.host}:{self.port}/{quote(database, safe='')}"
        return f"postgresql://{quote(user, safe='')}{secret}@{where}"

    def execute(self, sql: str, database: str = "postgres") -> Rows:
        """Run one statement as superuser on a fresh connection in autocommit.

        Returns:
            Its rows.

        Raises:
            Exception: The error of whichever driver is installed.
        """
        return admin_execute(self.dsn(database), sql)

    def reload(self, trigger: Callable[[], object]) -> None:
        """Have the server reread its settings, and wait until new connections see them.

        Args:
            trigger: What makes the postmaster do so.

        Raises:
            ClusterError: It did not reload in time.
        """
        question = "select extract(epoch from pg_conf_load_time())::text"
        before = self.execute(question)
        trigger()
        give_up = time.monotonic() + _RELOAD_SECONDS
        while self.execute(question) == before:
            if time.monotonic() > give_up:
                raise ClusterError(f"server {self.name} does not reload its settings")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.host}:{self.port}>"
