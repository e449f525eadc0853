"""The unprivileged account under which servers run when this process is root (trap 37)."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paxcommit.errors import ConfigurationError
from paxcommit.testing.warden import warden

__all__ = ["Account", "remove_folder", "server_account"]

_NAME = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns the servers' files and processes; `uid` and `gid` are None for "whoever we are"."""

    uid: int | None = None
    gid: int | None = None

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments for `subprocess.Popen` that make a child run under this account."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give the file or the whole folder `path` to the account."""
        if self.uid is None or self.gid is None:
            return
        os.chown(path, self.uid, self.gid)
        for folder, names, files in os.walk(path):
            for name in (*names, *files):
                os.chown(os.path.join(folder, name), self.uid, self.gid, follow_symlinks=False)

    def make_folder(self, prefix: str) -> Path:
        """Make a temporary folder of mode 0700 that the account can reach; the warden knows it."""
        parent = Path(tempfile.gettempdir())
        if self.uid is not None and not _open_to_others(parent):
            parent = Path("/tmp")  # noqa: S108 - mkdtemp below makes the unpredictable name
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        warden().folder(path)
        self.own(path)
        return path


def remove_folder(path: Path) -> None:
    """Remove the folder `path`, made by `Account.make_folder`."""
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        warden().removed(path)


def server_account() -> Account:
    """Return the account to run servers under: our own, or ``nobody`` when we are root.

    Raises:
        ConfigurationError: We are root and the system has no such account.
    """
    if os.geteuid() != 0:
        return Account()
    try:
        entry = pwd.getpwnam(_NAME)
    except KeyError:
        raise ConfigurationError(
            f"PostgreSQL refuses to run as root, and there is no user {_NAME!r} to run it as; "
            f"run this as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _open_to_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
