"""``python -m paxcommit.testing.bank``: clients in a coordinator process of their own.

Runs until SIGTERM or SIGINT.  With ``--commands`` it reads standard input too: ``stop STEP`` stops
the process with SIGSTOP when it reaches that failpoint next, so that whoever watches can kill it
right there; the end of the input ends it gently.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from random import Random

from pydantic import SecretStr

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.drivers import choose_async
from paxcommit.runtime.aio.run import run_statements
from paxcommit.settings import Settings
from paxcommit.testing.bank.carriers import Carrier, Kind, PaxosCommit, TwoPhaseCommit
from paxcommit.testing.bank.clients import keep_moving
from paxcommit.testing.bank.commands import listen
from paxcommit.testing.bank.ledger import open_accounts
from paxcommit.testing.bank.reports import Answered, Opened, Stopped, write_report
from paxcommit.testing.failpoints import arm_from_environment, call_at

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run clients as the command line says."""
    options = _parser().parse_args(arguments)
    arm_from_environment()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(_work(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="paxcommit.testing.bank", description=__doc__)
    parser.add_argument("--config", help="as for paxcommit; the participants are the banks")
    parser.add_argument("--driver", default=os.environ.get("PAXCOMMIT_DRIVER"))
    parser.add_argument("--clients", type=int, default=4, help="transfers at the same time")
    parser.add_argument("--seed", type=int, help="which transfers; drawn if not given")
    parser.add_argument("--name", help="what pg_stat_activity is to show")
    parser.add_argument("--two-phase", action="store_true", help="plain two-phase commit instead")
    parser.add_argument("--commands", action="store_true", help="take commands on standard input")
    return parser


async def _work(options: argparse.Namespace) -> None:
    settings = Settings.load(options.config)
    if options.name:
        settings = _named(settings, options.name)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with ExitStack() as steps:
        if options.commands:
            listen(partial(_obey, steps), stop)
        await _run(settings, options, stop)


async def _run(settings: Settings, options: argparse.Namespace, stop: asyncio.Event) -> None:
    seed = secrets.randbits(63) if options.seed is None else options.seed
    async with _carrier(settings, options) as carrier:
        await keep_moving(
            carrier,
            sorted(settings.participants),
            clients=options.clients,
            random=Random(seed),  # noqa: S311 - money that is not real
            tell=_tell,
            stop=stop,
        )


def _tell(kind: Kind, txid: str) -> None:
    write_report(Answered(kind, txid))


@asynccontextmanager
async def _carrier(settings: Settings, options: argparse.Namespace) -> AsyncIterator[Carrier]:
    driver = choose_async(options.driver)
    dsns = {name: each.dsn.get_secret_value() for name, each in settings.participants.items()}
    for dsn in dsns.values():
        session = await driver.connect(dsn, timeout=settings.connect_timeout)
        try:
            await run_statements(session, open_accounts())
        finally:
            session.discard()
    async with AsyncExitStack() as stack:
        if options.two_phase:
            timeout = settings.connect_timeout
            pools = {
                name: driver.open_pool(dsn, max_size=options.clients, timeout=timeout)
                for name, dsn in dsns.items()
            }
            for pool in pools.values():
                stack.push_async_callback(pool.close, timeout)
            write_report(Opened("none"))
            yield TwoPhaseCommit(pools)
        else:
            coordinator = await stack.enter_async_context(
                AsyncCoordinator.open(settings, driver=options.driver)
            )
            txid = coordinator.transaction().id  # never begun: only to learn the incarnation
            write_report(Opened(f"{txid.coordinator:016x}"))
            yield PaxosCommit(coordinator)


def _obey(steps: ExitStack, verb: str, words: list[str]) -> None:
    match verb, words:
        case "stop", [step]:  # armed until the process ends
            steps.enter_context(call_at(step, partial(_stop_here, step)))
        case _:
            raise SystemExit(f"no such command: {verb}")


def _stop_here(step: str) -> None:
    write_report(Stopped(step))
    os.kill(os.getpid(), signal.SIGSTOP)


def _named(settings: Settings, name: str) -> Settings:
    """Have every connection show `name` in ``pg_stat_activity``."""

    def dsn(secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        return SecretStr(f"{text}{'&' if '?' in text else '?'}application_name={name}")

    return settings.model_copy(
        update={
            "acceptors": {name: dsn(each) for name, each in settings.acceptors.items()},
            "participants": {
                name: each.model_copy(update={"dsn": dsn(each.dsn)})
                for name, each in settings.participants.items()
            },
        }
    )


if __name__ == "__main__":
    main()
