"""A server in a Docker container, with the same promises as one on this machine."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath
from typing import Any

from paxcommit.errors import ClusterError, ConfigurationError, UsageError
from paxcommit.testing._addresses import LOOPBACK, free_port
from paxcommit.testing.server import Server, Setting, StopMode
from paxcommit.testing.settings import check_setting, server_settings, spell

__all__ = ["IMAGE_VARIABLE", "ContainerServer"]

IMAGE_VARIABLE = "PAXCOMMIT_TEST_IMAGE"
"""The environment variable that names the image; it behaves as the official ``postgres`` does."""

_IMAGE = "postgres:18"
_INSIDE = 5432
# a volume of our own: another container can copy it while this one is stopped
_HOME = PurePosixPath("/var/lib/paxcommit")
_CONF = "postgresql.auto.conf"
_SCRIPT = "/docker-entrypoint-initdb.d/paxcommit.sql"
_SECONDS = 60.0
_LOG_TAIL = 2_000
_SIGNALS: Mapping[StopMode, str] = {"smart": "TERM", "fast": "INT", "immediate": "QUIT"}


class ContainerServer(Server):
    """A `Server` whose postmaster is the first process of a container.

    Args:
        name: Within its cluster.
        settings: For the server, beside the defaults.
        password: The superuser's; None draws a random one.
        image: None takes `IMAGE_VARIABLE`, or ``postgres:18``.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Mapping[str, Setting] | None = None,
        password: str | None = None,
        image: str | None = None,
    ) -> None:
        self.name = name
        self.host = LOOPBACK
        self.port = free_port()
        self.password = secrets.token_urlsafe(12) if password is None else password
        self.version = 0
        self._image = image or os.environ.get(IMAGE_VARIABLE) or _IMAGE
        self._settings = server_settings(0, settings)
        self._container: Any = None
        self._testcontainer: Any = None
        self._copies = 0

    @property
    def data_dir(self) -> PurePosixPath:
        """The data directory inside the container."""
        return _HOME / "data"

    @property
    def pid(self) -> int:
        """The postmaster's process id, as the host of the Docker engine counts.

        Raises:
            UsageError: The server is not running.
        """
        return int(self._running().attrs["State"]["Pid"])

    @property
    def is_running(self) -> bool:
        """Whether the postmaster runs."""
        if self._container is None:
            return False
        self._container.reload()
        return bool(self._container.attrs["State"]["Running"])

    def launch(self) -> None:
        """See `Server.launch`."""
        if self._container is None:
            self._create()
        elif self.is_running:
            raise UsageError(f"server {self.name} is running already")
        else:
            self._container.start()

    def await_ready(self) -> None:
        """See `Server.await_ready`."""
        give_up = time.monotonic() + _SECONDS
        while True:
            try:
                answer = self.execute("select current_setting('server_version_num')::int / 10000")
            except ConfigurationError:
                raise
            except Exception as error:  # the driver's; which one is installed is not known here
                if not self.is_running or time.monotonic() > give_up:
                    raise ClusterError(
                        f"server {self.name} did not start: {self.log()[-_LOG_TAIL:]}"
                    ) from error
                time.sleep(0.05)
            else:
                self.version = answer[0][0]
                return

    def stop(self, mode: StopMode = "fast") -> None:
        """See `Server.stop`."""
        self._end(_SIGNALS[mode])

    def kill(self) -> None:
        """See `Server.kill`."""
        self._end("KILL")

    def configure(self, **settings: Setting | None) -> None:
        """See `Server.configure`."""
        commands = []
        for name, value in settings.items():
            check_setting(name)
            commands.append(f"sed -i '/^{name} = /d' {_CONF}")
            if value is not None:
                line = shlex.quote(f"{name} = {spell(value)}")
                commands.append(f"printf '%s\\n' {line} >> {_CONF}")
        self._shell(f"cd {self.data_dir}", *commands)
        if self.is_running:
            self.reload(lambda: self._container.kill("HUP"))

    def log(self) -> str:
        """See `Server.log`."""
        if self._container is None:
            return ""
        return bytes(self._container.logs()).decode(errors="replace")

    def copy_data_dir(self) -> PurePosixPath:
        """See `Server.copy_data_dir`; the copy stays beside the original, in the same volume."""
        self._stopped()
        self._copies += 1
        copy = _HOME / f"copy{self._copies}"
        self._shell(f"cp -a {self.data_dir} {copy}")
        return copy

    def restore(self, copy: PurePath) -> None:
        """See `Server.restore`."""
        self._stopped()
        settings = f"{self.data_dir}/{_CONF}"
        self._shell(
            f"mv {settings} {_HOME}/{_CONF}",
            f"rm -rf {self.data_dir}",
            f"cp -a {copy} {self.data_dir}",
            f"mv {_HOME}/{_CONF} {settings}",
        )

    def close(self) -> None:
        """See `Server.close`."""
        if self._testcontainer is not None:
            self._testcontainer.stop()
            self._testcontainer = self._container = None

    def _create(self) -> None:
        import docker
        import docker.errors
        import docker.types
        from testcontainers.core.container import DockerContainer

        try:
            container = DockerContainer(
                self._image, mounts=[docker.types.Mount(str(_HOME), None, type="volume")]
            )
        except docker.errors.DockerException:
            raise ConfigurationError(
                "no Docker engine answers; start one, or see DOCKER_HOST"
            ) from None
        script = "".join(f"alter system set {k} = {spell(v)};\n" for k, v in self._settings.items())
        container.with_copy_into_container(script.encode(), _SCRIPT)
        container.with_envs(
            POSTGRES_USER=self.user,
            POSTGRES_PASSWORD=self.password or "",
            POSTGRES_INITDB_ARGS="--no-sync --locale=C --encoding=UTF8",
            PGDATA=str(self.data_dir),
        )
        # The port is bound by number, for a restarted container is given another one otherwise.
        host = container.get_docker_client().host()
        loopback = host in (LOOPBACK, "localhost")
        ports: dict[str, Any] = container.ports
        ports[str(_INSIDE)] = (LOOPBACK, self.port) if loopback else self.port
        self._testcontainer = container
        try:
            container.start()
        except docker.errors.DockerException as error:
            raise ClusterError(f"container {self.name} did not start: {error}") from None
        self._container = container.get_wrapped_container()
        self.host = LOOPBACK if loopback else container.get_container_host_ip()
        self.port = int(container.get_exposed_port(_INSIDE))

    def _end(self, how: str) -> None:
        running = self._running()
        running.kill(how)
        try:
            running.wait(timeout=_SECONDS)
        except Exception as error:
            raise ClusterError(f"server {self.name} did not end within {_SECONDS:.0f} s") from error

    def _running(self) -> Any:
        if not self.is_running:
            raise UsageError(f"server {self.name} is not running")
        return self._container

    def _stopped(self) -> None:
        if self.is_running:
            raise UsageError(f"server {self.name} is running; stop it first")

    def _shell(self, *commands: str) -> None:
        """Run shell commands as root on the server's volume, whether the server runs or not."""
        client = self._testcontainer.get_docker_client().client
        client.containers.run(
            self._image,
            ["-ec", "\n".join(commands)],
            entrypoint="sh",
            volumes_from=[self._container.id],
            network_mode="none",
            remove=True,
        )
