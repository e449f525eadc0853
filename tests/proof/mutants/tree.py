"""Copies of the source tree: what runs there runs the copy, although the original is installed."""

from __future__ import annotations

import compileall
import contextlib
import os
import py_compile
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["PARTS", "ROOT", "Tree", "end_running"]

ROOT = Path(__file__).parents[3]
PARTS = ("paxcommit", "adapters", "tests", "pyproject.toml")

_SHOW = "import paxcommit, paxcommit_asyncpg, paxcommit_psycopg; print(*(m.__file__ for m in ({})))"
_PACKAGES = ("paxcommit", "paxcommit_asyncpg", "paxcommit_psycopg")


class Tree:
    """A copy of what the tools need.

    Args:
        root: Where it is, or goes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @classmethod
    def plant(cls, root: Path) -> Tree:
        """Copy the working tree, and compile it.

        By hash, not by time: a mutant of the same length, made in the same second, would otherwise
        run the code that was compiled before it.
        """
        tree = cls(root)
        for part in PARTS:
            _copy(ROOT / part, tree.root / part, copy=shutil.copy2)
        compileall.compile_dir(
            tree.root,
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
        )
        tree.check()
        return tree

    def graft(self, root: Path) -> Tree:
        """Copy this copy; by links, so a file is replaced there, never written to."""
        for part in PARTS:
            _copy(self.root / part, root / part, copy=os.link)
        return Tree(root)

    def environment(self, **more: str) -> Mapping[str, str]:
        """The environment in which this copy is what ``import paxcommit`` finds."""
        kept = {name: value for name, value in os.environ.items() if name[:10] != "PAXCOMMIT_"}
        if backend := os.environ.get("PAXCOMMIT_TEST_POSTGRES"):
            kept["PAXCOMMIT_TEST_POSTGRES"] = backend
        path = os.pathsep.join((str(self.root), str(self.root / "adapters")))
        return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}

    def run(
        self, arguments: Sequence[str], *, timeout: float, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python there; on a time-out everything that it started is killed.

        Raises:
            subprocess.TimeoutExpired: It took longer than `timeout` seconds.
        """
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            _running[process.pid] = process
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                _kill(process)
                process.communicate()
                raise
            finally:
                del _running[process.pid]
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def check(self) -> None:
        """See to it that this copy is what runs.

        Raises:
            RuntimeError: Something else would be tested.
        """
        ran = self.run(["-c", _SHOW.format(", ".join(_PACKAGES))], timeout=60)
        files = ran.stdout.split()
        if len(files) != len(_PACKAGES) or not all(str(self.root) in file for file in files):
            raise RuntimeError(f"the copy is not what is imported: {files} {ran.stderr}")


_running: dict[int, subprocess.Popen[str]] = {}


def end_running() -> None:
    """Kill whatever runs in some tree, and all that it has started."""
    for process in list(_running.values()):
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _copy(source: Path, target: Path, *, copy: Callable[[str, str], object]) -> None:
    if source.is_dir():
        skip = shutil.ignore_patterns("__pycache__") if source.parent == ROOT else None
        shutil.copytree(source, target, ignore=skip, copy_function=copy)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(str(source), str(target))
