"""`Failpoints`: what a test arms, in its own process and in children, until the test is over."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Self

from paxcommit.errors import UsageError
from paxcommit.testing.failpoints import FailpointReached, armed
from paxcommit.testing.plugin.arms import Action, Arm, Arms, parse_step
from paxcommit.testing.plugin.children import Child, Ended, Reporter
from paxcommit.testing.plugin.steps import check_step

__all__ = ["Failpoints"]

_HINTS = 40


class Failpoints:
    """Arms steps of commit and recovery; a context manager, at the end of which all is inert again.

    A step is named exactly (``prepare:orders.after``) or by a pattern (``phase2a:*.after``), and
    may end in ``#2`` for the second time that it is reached.  `STEPS` lists them; a name that none
    can have is an error.  What is armed acts once, in whichever process gets there first: this
    one, or a child started by `run`, `run_python` and their like.  `missed` tells what was armed
    and never reached; pytest's fixture fails the test then, unless it was armed as ``optional``.

    Args:
        participants, acceptors: Their names, to tell a misspelt one; None: any will do.
    """

    def __init__(
        self,
        participants: Sequence[str] | None = None,
        acceptors: Sequence[str] | None = None,
    ) -> None:
        self._participants = participants
        self._acceptors = acceptors
        self._numbers = itertools.count()
        self._arms = Arms(self._hear)
        self._records: list[tuple[str, list[str]]] = []
        self._reached: dict[str, None] = {}
        self._children: list[Child] = []
        self._armed = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._armed.enter_context(armed(self._arms.hook))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._armed.close()
        for child in self._children:
            child.kill()

    # --- arming ---------------------------------------------------------------------------------

    def kill_at(self, step: str, nth: int = 1, *, optional: bool = False) -> None:
        """SIGKILL the child that reaches `step`.

        Args:
            step: See the class.
            nth: Which time, in that process.
            optional: Do not fail the test if it is never reached.

        Raises:
            ConfigurationError: No step can have this name; says what may have been meant.
        """
        self._arm("kill", step, nth, None, optional)

    def stop_at(self, step: str, nth: int = 1, *, optional: bool = False) -> None:
        """SIGSTOP the child that reaches `step`; see `Child.wait_stopped` and `kill_at`."""
        self._arm("stop", step, nth, None, optional)

    def raise_at(
        self,
        step: str,
        error: BaseException | type[BaseException] = FailpointReached,
        nth: int = 1,
        *,
        optional: bool = False,
    ) -> None:
        """Raise `error` out of `step`.

        In the middle of a commit that is as if the process had lost sight of it: the caller gets
        `OutcomeUnknown`, and whatever was prepared waits for recovery.  See `kill_at`.
        """

        def work() -> None:
            raise error

        self._arm("raise", step, nth, work, optional)

    def call_at(
        self, step: str, function: Callable[[], object], nth: int = 1, *, optional: bool = False
    ) -> None:
        """Call `function` inside `step`, on the thread that reaches it.  See `kill_at`."""
        self._arm("call", step, nth, function, optional)

    def record(self, pattern: str = "*") -> list[str]:
        """Return a list that grows with every step reached from now on, here and in children."""
        reached: list[str] = []
        self._records.append((pattern, reached))
        return reached

    # --- children -------------------------------------------------------------------------------

    def run(
        self, function: Callable[..., Any], *args: Any, timeout: float = 60.0, **kwargs: Any
    ) -> Ended:
        """Run `function` in a forked child, and wait until that ends or is killed.

        The function must open its own connections and coordinators; what is open in this process
        is of no use in another (R1).  A coroutine function is run with `asyncio.run`.

        Args:
            function: What to run.
            args, kwargs: For it.
            timeout: Seconds.

        Raises:
            ChildFailed: It raised, or did not end in time.
        """
        return self.start(function, *args, **kwargs).wait(timeout)

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Child:
        """Begin what `run` does, without waiting."""
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # From 3.12 on: "may lead to deadlocks", if another thread holds a lock that the child
            # needs.  The child needs what it opens itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._be_a_child(writing, functools.partial(function, *args, **kwargs))
        os.close(writing)
        return self._parent_of(pid, reading)

    def run_python(
        self, *arguments: str, timeout: float = 60.0, env: Mapping[str, str] | None = None
    ) -> Ended:
        """Run ``python ARGUMENTS`` as a fresh process, and wait until that ends or is killed.

        For programs that should not be forked from a test, such as a service's own entry point.
        Only kills and stops reach into it.

        Args:
            arguments: ``"-m", "module", …`` or a script's path, and what follows.
            timeout: Seconds.
            env: Instead of this process's environment.

        Raises:
            ChildFailed: It ended with another status than 0, or not in time.
            UsageError: Something else than kills and stops is armed.
        """
        return self.start_python(*arguments, env=env).wait(timeout)

    def start_python(self, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        """Begin what `run_python` does, without waiting."""
        if not arguments or (arguments[0].startswith("-") and arguments[0] != "-m"):
            raise UsageError("run_python takes a script's path, or -m and a module")
        arms = [arm for arm in self._arms if not arm.acted]
        for arm in arms:
            if arm.work is not None:
                raise UsageError(f"{arm} cannot reach into another program; use run, or kill_at")
        reading, writing = os.pipe()
        try:
            told = [[arm.number, arm.action, arm.pattern, arm.nth] for arm in arms]
            program = [sys.executable, "-m", "paxcommit.testing.plugin.armed_main"]
            program += [json.dumps({"fd": writing, "arms": told}), *arguments]
            process = subprocess.Popen(program, pass_fds=[writing], env=env)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        process.returncode = 0  # it is reaped by its pid, below
        return self._parent_of(process.pid, reading)

    # --- the end --------------------------------------------------------------------------------

    def missed(self) -> str:
        """Say what was armed and never reached, and what was reached instead; empty if nothing."""
        missed = [arm for arm in self._arms if not (arm.acted or arm.optional)]
        if not missed:
            return ""
        told = ", ".join(str(arm) for arm in missed)
        names = ", ".join(list(self._reached)[:_HINTS])
        return (
            f"never reached: {told}; a test without it shows nothing. "
            f"{f'Reached were: {names}' if names else 'No step was reached at all.'}"
        )

    # --- inside ---------------------------------------------------------------------------------

    def _arm(
        self,
        action: Action,
        step: str,
        nth: int,
        work: Callable[[], object] | None,
        optional: bool,
    ) -> None:
        __tracebackhide__ = True
        pattern, nth = parse_step(step, nth)
        check_step(pattern, self._participants, self._acceptors)
        self._arms.add(Arm(next(self._numbers), action, pattern, nth, work, optional))

    def _hear(self, what: str, value: Any) -> None:
        if what == "acted":
            self._arms.acted(value[0])
        elif what == "step":
            self._reached.setdefault(value)
            for pattern, reached in self._records:
                if fnmatchcase(value, pattern):
                    reached.append(value)

    def _parent_of(self, pid: int, fd: int) -> Child:
        child = Child(pid, fd, self._hear)
        self._children.append(child)
        return child

    def _be_a_child(self, fd: int, work: Callable[[], Any]) -> None:
        """Do the work and end, without any of what a test process does at its end."""
        status = 1
        try:
            tell = Reporter(fd).tell
            self._arms.inherit(tell)
            try:
                result = work()
                if inspect.iscoroutine(result):
                    result = asyncio.run(result)
                with contextlib.suppress(TypeError, ValueError):
                    tell("returned", result)
                status = 0
            except BaseException:  # noqa: BLE001 - told to the parent, which raises it
                tell("raised", traceback.format_exc())
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
