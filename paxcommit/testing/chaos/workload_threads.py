"""The same clients in threads, through the blocking surface."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

from paxcommit.coordinator import Coordinator
from paxcommit.testing.chaos.events import Answer
from paxcommit.testing.chaos.workload import (
    COUNT,
    PATIENCE,
    Attempt,
    Books,
    ChangedMind,
    Work,
    answer_for,
    draw_work,
    pause_after,
)
from paxcommit.transaction import Transaction

__all__ = ["ThreadedClients"]


class ThreadedClients:
    """As `workload.Clients`, for `Coordinator`.

    Args:
        coordinator: Open.
        books: Hear of everything.
        seed: Together with a client's number it chooses what that client does.
    """

    def __init__(self, coordinator: Coordinator, books: Books, seed: str) -> None:
        self._coordinator = coordinator
        self._books = books
        self._banks = sorted(coordinator.settings.participants)
        self._seed = seed

    def work(self, count: int, stop: threading.Event) -> None:
        """Run `count` clients until `stop` is set, and let every transaction under way end."""
        with ThreadPoolExecutor(count) as threads:
            clients = [  # a rerun needs the same draws
                threads.submit(self._client, Random(f"{self._seed}:{number}"), stop)  # noqa: S311
                for number in range(count)
            ]
            for client in clients:
                client.result()

    def _client(self, random: Random, stop: threading.Event) -> None:
        while not stop.is_set():
            work, which, pause = draw_work(random, self._banks), random.random(), random.random()
            stop.wait(pause_after(self._carry(work, which), pause))

    def _carry(self, work: Work, which: float) -> Answer:
        """Try once; whatever comes of it is told, not raised."""
        tx = self._coordinator.transaction(read_only=True if work.shape == "reader" else None)
        attempt = self._books.begin(str(tx.id), work, which)
        in_block = False
        answer: Answer = "committed"
        try:
            with tx:
                try:
                    self._block(tx, attempt)
                except Exception:
                    in_block = True
                    raise
        except Exception as error:  # noqa: BLE001 - raised again if it tells nothing
            answer = answer_for(error, in_block=in_block)
        attempt.end(answer, tx.unapplied)
        return answer

    def _block(self, tx: Transaction, attempt: Attempt) -> None:
        patience = f"set local statement_timeout = '{PATIENCE:g}s'"
        txid, banks = attempt.to_look_for
        for bank in banks:
            connection = tx.connection(bank)
            connection.execute(patience)
            attempt.saw(bank, connection.execute(COUNT.format(txid)).fetchone()[0])
        for leg in attempt.work.legs:
            connection = tx.connection(leg.account.bank)
            connection.execute(patience)
            connection.execute(leg.sql(attempt.txid))
        if attempt.work.shape == "self-abort":
            raise ChangedMind
