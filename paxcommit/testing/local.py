"""A server run from programs on this machine, under its own data directory."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path, PurePath

from paxcommit.errors import ClusterError, UsageError
from paxcommit.testing._account import Account
from paxcommit.testing._addresses import LOOPBACK, free_port
from paxcommit.testing.binaries import Installation
from paxcommit.testing.server import Server, Setting, StopMode
from paxcommit.testing.settings import check_setting, spell
from paxcommit.testing.warden import warden

__all__ = ["LocalServer"]

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_ORPHAN_SECONDS = 20.0
_FOLLOW_SECONDS = 2.0
_CLOSE_SECONDS = 8.0  # more than the 5 s after which a postmaster kills its children
_PORT_TRIES = 5
_LOG_TAIL = 2_000
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class LocalServer(Server):
    """A `Server` whose postmaster is a child of this process.

    Args:
        name: Within its cluster.
        folder: An existing folder of `account`'s, for the data directory and the log.
        installation: The programs to run.
        account: Whom to run them as.
        settings: For ``postgresql.conf``.
        password: The superuser's; None trusts every local connection.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        installation: Installation,
        account: Account,
        settings: Mapping[str, Setting],
        password: str | None = None,
    ) -> None:
        self.name = name
        self.host = LOOPBACK
        self.port = free_port()
        self.password = password
        self.version = installation.version
        self._folder = folder
        self._bin = installation.bin
        self._account = account
        self._settings: dict[str, Setting] = dict(settings)
        self._initdb: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._copies = 0
        self._ports_left = _PORT_TRIES

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self._folder / self.name

    @property
    def pid(self) -> int:
        """The postmaster's process id.

        Raises:
            UsageError: The server is not running.
        """
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the postmaster runs."""
        return self._process is not None and self._process.poll() is None

    def initialise(self) -> None:
        """Begin to make the data directory, without waiting; the first `launch` waits for it."""
        command: list[str | Path] = [self._bin / "initdb", "--pgdata", self.data_dir]
        command += ["--no-sync", "--locale=C", "--encoding=UTF8", "--username", self.user]
        if self.password is None:
            command += ["--auth=trust"]
        else:
            secret = self._folder / f"{self.name}.password"
            secret.touch(mode=0o600)
            secret.write_text(self.password + "\n")
            self._account.own(secret)
            command += ["--auth=scram-sha-256", "--pwfile", secret]
        self._initdb = self._spawn(command)

    def launch(self) -> None:
        """See `Server.launch`."""
        if self.is_running:
            raise UsageError(f"server {self.name} is running already")
        self._await_end(_ORPHAN_SECONDS)  # of a postmaster that ended by itself
        self._await_initdb()
        reading, writing = os.pipe()
        try:
            # Every process of the server inherits the writing end, so the reading end tells when
            # the last of them is gone, also after a SIGKILL of the postmaster.
            self._process = self._spawn(
                [self._bin / "postgres", "-D", self.data_dir, "-p", str(self.port)], (writing,)
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._lifeline = reading

    def await_ready(self) -> None:
        """See `Server.await_ready`."""
        give_up = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if not self.is_running:
                if self._ports_left and "Address already in use" in self.log()[-_LOG_TAIL:]:
                    self._ports_left -= 1
                    self.port = free_port()
                    self.launch()
                    continue
                raise ClusterError(f"server {self.name} did not start: {self.log()[-_LOG_TAIL:]}")
            if time.monotonic() > give_up:
                raise ClusterError(
                    f"server {self.name} is not ready after {_START_SECONDS:.0f} s: "
                    f"{self.log()[-_LOG_TAIL:]}"
                )
            time.sleep(0.005)
        # from now on the port is known to others and may not change
        self._ports_left = 0

    def stop(self, mode: StopMode = "fast") -> None:
        """See `Server.stop`."""
        self._running().send_signal(_SIGNALS[mode])
        self._await_end(_STOP_SECONDS)

    def kill(self) -> None:
        """See `Server.kill`."""
        self._running().kill()
        if not self._has_ended(_FOLLOW_SECONDS):
            self._kill_orphans()
        self._await_end(_ORPHAN_SECONDS)

    def configure(self, **settings: Setting | None) -> None:
        """See `Server.configure`."""
        for name in settings:
            check_setting(name)
        for name, value in settings.items():
            if value is None:
                self._settings.pop(name, None)
            else:
                self._settings[name] = value
        self._write_conf()
        if self.is_running:
            self.reload(lambda: self._running().send_signal(signal.SIGHUP))

    def log(self) -> str:
        """See `Server.log`."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def copy_data_dir(self) -> Path:
        """See `Server.copy_data_dir`."""
        self._stopped()
        self._copies += 1
        copy = self._folder / f"{self.name}.copy{self._copies}"
        self._copy(self.data_dir, copy)
        return copy

    def restore(self, copy: PurePath) -> None:
        """See `Server.restore`."""
        self._stopped()
        shutil.rmtree(self.data_dir)
        self._copy(Path(copy), self.data_dir)

    def close(self) -> None:
        """See `Server.close`."""
        if self._initdb is not None:
            self._initdb.kill()
            self._initdb.wait()
            warden().ended(self._initdb.pid)
            self._initdb = None
        if self._process is None:
            return
        for how in (signal.SIGQUIT, signal.SIGCONT):  # a test may have left it stopped
            self._process.send_signal(how)
        if not self._has_ended(_CLOSE_SECONDS):
            self._process.kill()
            self._kill_orphans()
        self._await_end(_ORPHAN_SECONDS)

    @property
    def _log_path(self) -> Path:
        return self._folder / f"{self.name}.log"

    @property
    def _conf_path(self) -> Path:
        return self._folder / f"{self.name}.conf"

    def _spawn(
        self, command: list[str | Path], pass_fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                # neither PG* variables nor a locale of the caller's may reach the server
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                pass_fds=pass_fds,
                # a Ctrl-C in the terminal is for this process, not for the servers
                start_new_session=True,
                **self._account.popen,
            )
        warden().process(process.pid)
        return process

    def _await_initdb(self) -> None:
        if self._initdb is None:
            return
        status = self._initdb.wait()
        warden().ended(self._initdb.pid)
        self._initdb = None
        if status != 0:
            raise ClusterError(f"initdb of {self.name} failed: {self.log()[-_LOG_TAIL:]}")
        with (self.data_dir / "postgresql.conf").open("a") as conf:
            conf.write(f"include {spell(str(self._conf_path))}\n")
        self._write_conf()

    def _write_conf(self) -> None:
        lines = [f"{name} = {spell(value)}\n" for name, value in self._settings.items()]
        self._conf_path.write_text("".join(lines))
        self._account.own(self._conf_path)

    def _is_ready(self) -> bool:
        """Read ``postmaster.pid`` as ``pg_ctl`` does; a stale one names another pid."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        pid = self._process.pid if self._process is not None else 0
        return len(lines) >= 8 and int(lines[0]) == pid and lines[7].strip() == "ready"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise UsageError(f"server {self.name} is not running")
        return self._process

    def _stopped(self) -> None:
        if self.is_running:
            raise UsageError(f"server {self.name} is running; stop it first")

    def _has_ended(self, seconds: float) -> bool:
        """Whether the postmaster and all its children end within `seconds`."""
        return self._lifeline is None or bool(select.select([self._lifeline], [], [], seconds)[0])

    def _kill_orphans(self) -> None:
        """SIGKILL what works in the data directory: a busy backend does not see its server die."""
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
                if link.readlink() == self.data_dir:
                    os.kill(int(link.parent.name), signal.SIGKILL)

    def _await_end(self, seconds: float) -> None:
        if self._process is None:
            return
        if not self._has_ended(seconds):
            raise ClusterError(f"server {self.name} did not end within {seconds:.0f} s")
        self._process.wait()
        warden().ended(self._process.pid)
        self._process = None
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _copy(self, source: Path, target: Path) -> None:
        shutil.copytree(source, target, symlinks=True)
        self._account.own(target)
