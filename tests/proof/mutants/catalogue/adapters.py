"""Mutants of the drivers' adapters: what an answer is, and which connections may be used again."""

from __future__ import annotations

from tests.proof.mutants.mutant import mutant, test

__all__ = ["MUTANTS"]

ASYNCPG = "adapters/paxcommit_asyncpg/session.py"
ASYNCPG_POOL = "adapters/paxcommit_asyncpg/pool.py"
ASYNCPG_CONNECTION = "adapters/paxcommit_asyncpg/connection.py"
CLEANING = "paxcommit/sql/cleaning.py"
ASYNCPG_FAILURES = "adapters/paxcommit_asyncpg/failures.py"
PSYCOPG = "adapters/paxcommit_psycopg/base.py"
PSYCOPG_AIO = "adapters/paxcommit_psycopg/aio.py"
PSYCOPG_BLOCKING = "adapters/paxcommit_psycopg/blocking.py"
PSYCOPG_FAILURES = "adapters/paxcommit_psycopg/failures.py"
PSYCOPG_POOLS = "adapters/paxcommit_psycopg/pools.py"
_UNANSWERED = "tests/contract/test_unanswered.py::"
_BEGIN = "tests/contract/test_begin.py::"
_ADOPT = "tests/contract/test_adopt.py::"
_EXECUTE = "tests/contract/test_execute.py::"
_POOLS = "tests/contract/test_pools.py::"
_SILENCE = "tests/contract/test_silence.py::"
_DISCARD = "            self.discard()\n            raise\n\n    @contextlib.contextmanager"
_KEPT = "            raise\n\n    @contextlib.contextmanager"

MUTANTS = (
    mutant(
        "asyncpg-unanswered-session-returned-to-the-pool",
        "trap 32",
        "the next user's work becomes part of a PREPARE that may still happen",
        (
            ASYNCPG,
            "            raise self._failure(exc) from exc\n        except BaseException:\n"
            "            self.discard()\n",
            "            raise self._failure(exc) from exc\n        except BaseException:\n",
        ),
        by=[test(f"{_UNANSWERED}test_a_cancelled_call_leaves_the_session_broken[asyncpg]")],
    ),
    mutant(
        "psycopg-unanswered-session-returned-to-the-pool",
        "trap 32",
        "the next user's work becomes part of a PREPARE that may still happen",
        (
            PSYCOPG_AIO,
            "        except asyncio.CancelledError:\n            self.discard()\n",
            "        except asyncio.CancelledError:\n            await self._raw.cancel_safe()\n",
        ),
        (PSYCOPG, _DISCARD, _KEPT),
        by=[test(f"{_UNANSWERED}test_a_cancelled_call_leaves_the_session_broken[psycopg-async]")],
    ),
    mutant(
        "asyncpg-session-in-a-transaction-returned-to-the-pool",
        "trap 32",
        "the branch of a transaction that is over goes on under the next user",
        (
            ASYNCPG_POOL,
            "        if session.broken or session.in_transaction:\n",
            "        if session.broken:\n",
        ),
        by=[
            test(
                f"{_POOLS}test_a_session_left_unfinished_is_closed_and_its_slot_is_free"
                "[asyncpg-in a transaction]"
            )
        ],
    ),
    mutant(
        "a-fatal-error-leaves-the-session-in-use-asyncpg",
        "trap 8",
        "the next statement goes to a server that is gone (alone harmless: the driver closes, too)",
        (
            ASYNCPG,
            "        return self._discarded or is_closed(self._con)\n",
            "        return self._discarded\n",
        ),
        (ASYNCPG_FAILURES, 'in ("FATAL", "PANIC")', 'in ("PANIC",)'),
        by=[
            test(
                f"{_UNANSWERED}test_a_terminated_backend_is_told_by_its_sqlstate_and_the_session"
                "_is_broken[asyncpg]"
            )
        ],
    ),
    mutant(
        "no-answer-taken-for-the-servers-word-asyncpg",
        "R22, trap 4",
        "a broken connection becomes an ordinary error: an Unknown told as an abort",
        (
            ASYNCPG_FAILURES,
            "isinstance(candidate, asyncpg.PostgresError) and candidate.severity is not None",
            "isinstance(candidate, asyncpg.PostgresError)",
        ),
        by=[test(f"{_UNANSWERED}test_a_server_killed_in_the_middle_of_a_call[asyncpg]")],
    ),
    mutant(
        "asyncpg-tag-not-read-after-readyforquery",
        "R12, R16, trap 1",
        "the tag is guessed from what was sent: PREPARE in a failed transaction votes yes",
        (
            ASYNCPG,
            "            return [], await self._plain(text)\n",
            "            await self._plain(text)\n"
            '            return [], text.rpartition(";")[2].partition("\'")[0].strip()\n',
        ),
        by=[
            test(
                f"{_BEGIN}test_prepare_in_a_failed_transaction_answers_the_tag_rollback[own-asyncpg]"
            )
        ],
    ),
    mutant(
        "psycopg-tag-of-the-first-statement-async",
        "R16, trap 34a",
        "the tag of SET CONSTRAINTS is read for that of PREPARE",
        (
            PSYCOPG_AIO,
            "                single = True\n                while cursor.nextset():\n",
            "                single = True\n                while not single:\n",
        ),
        by=[
            test(
                f"{_EXECUTE}test_of_several_statements_the_last_ones_tag_and_no_rows[psycopg-async]"
            )
        ],
    ),
    mutant(
        "psycopg-tag-of-the-first-statement-threads",
        "R16, trap 34a",
        "the tag of SET CONSTRAINTS is read for that of PREPARE",
        (
            PSYCOPG_BLOCKING,
            "                single = True\n                while cursor.nextset():\n",
            "                single = True\n                while not single:\n",
        ),
        by=[
            test(
                f"{_EXECUTE}test_of_several_statements_the_last_ones_tag_and_no_rows[psycopg-sync]"
            )
        ],
    ),
    mutant(
        "notices-dropped-asyncpg",
        "R16, trap 2",
        "a PREPARE that is not on the standby looks like any other",
        (
            ASYNCPG,
            "return Result(rows, tag, tuple(notices))",
            "return Result(rows, tag, tuple(notices[:0]))",
        ),
        by=[
            test(f"{_UNANSWERED}test_prepare_cancelled_while_it_waits_for_a_standby_warns[asyncpg]")
        ],
    ),
    mutant(
        "notices-dropped-psycopg",
        "R16, trap 2",
        "a PREPARE that is not on the standby looks like any other",
        (
            PSYCOPG,
            "        self._raw.add_notice_handler(handler)\n",
            "        self._raw.add_notice_handler(lambda _: None)\n",
        ),
        (
            PSYCOPG,
            "            self._raw.remove_notice_handler(handler)\n",
            "            del handler\n",
        ),
        by=[
            test(
                f"{_UNANSWERED}test_prepare_cancelled_while_it_waits_for_a_standby_warns[psycopg-sync]"
            )
        ],
    ),
    mutant(
        "notice-handler-left-behind-psycopg",
        "trap 34a",
        "every call on a user's connection costs memory, for ever",
        (
            PSYCOPG,
            "            self._raw.remove_notice_handler(handler)\n",
            "            del handler\n",
        ),
        by=[test(f"{_ADOPT}test_no_notice_handler_stays_behind[psycopg-sync]")],
    ),
    mutant(
        "autocommit-leaks-to-the-pools-next-user-threads",
        "trap 34a",
        "what the next user rolls back was committed statement by statement",
        (
            PSYCOPG_BLOCKING,
            "            self._raw.autocommit = self._autocommit\n        except",
            "            self._raw.autocommit = True\n        except",
        ),
        by=[
            test(f"{_ADOPT}test_an_adopted_connection_is_afterwards_as_before[psycopg-sync-COMMIT]")
        ],
    ),
    mutant(
        "autocommit-leaks-to-the-pools-next-user-async",
        "trap 34a",
        "what the next user rolls back was committed statement by statement",
        (
            PSYCOPG_AIO,
            "            await self._raw.rollback()\n"
            "        await self._raw.set_autocommit(self._autocommit)\n",
            "            await self._raw.rollback()\n"
            "        await self._raw.set_autocommit(True)\n",
        ),
        by=[
            test(
                f"{_ADOPT}test_an_adopted_connection_is_afterwards_as_before[psycopg-async-COMMIT]"
            )
        ],
    ),
    mutant(
        "psycopg-opens-a-transaction-of-its-own",
        "R12, trap 34a",
        "a vote's answer comes before its commit, for nobody commits it",
        (
            PSYCOPG_BLOCKING,
            "        if self._begun or self._raw.autocommit:\n",
            "        if self._begun or self._raw:\n",
        ),
        by=[test(f"{_ADOPT}test_statements_outside_begin_are_in_autocommit[psycopg-sync]")],
    ),
    mutant(
        "asyncpg-settle-leaves-the-drivers-state",
        "trap 1",
        "the user's next transaction is refused, or nested in one that is over",
        (
            ASYNCPG,
            "            await transaction.rollback()\n",
            '            await self._raw.execute("ROLLBACK")\n',
        ),
        by=[test(f"{_ADOPT}test_an_adopted_connection_is_afterwards_as_before")],
    ),
    mutant(
        "asyncpg-settle-takes-an-open-transaction-for-over",
        "trap 32",
        "the branch stays open, with its locks, until the pool resets the connection",
        (
            ASYNCPG,
            "            if not self._con.is_in_transaction():\n",
            "            if True:\n",
        ),
        by=[test(f"{_BEGIN}test_after_settle_the_driver_begins_anew")],
    ),
    mutant(
        "asyncpg-the-mark-of-a-branch-is-not-sent",
        "R14",
        "no branch can be prepared; were the check not strict, any transaction could pass for ours",
        (
            ASYNCPG,
            '                self._inner.opening = "; ".join(opening)\n',
            "",
        ),
        by=[test(f"{_BEGIN}test_the_first_statement_runs_inside")],
    ),
    mutant(
        "a-fatal-error-leaves-the-session-in-use-psycopg",
        "trap 8",
        "the next statement goes to a server that is gone (alone harmless: the driver closes, too)",
        (
            PSYCOPG,
            "        return self._discarded or self._raw.closed\n",
            "        return self._discarded\n",
        ),
        (PSYCOPG_FAILURES, 'not in ("FATAL", "PANIC")', 'not in ("PANIC",)'),
        by=[
            test(
                f"{_UNANSWERED}test_a_terminated_backend_is_told_by_its_sqlstate_and_the_session"
                "_is_broken[psycopg-sync]"
            )
        ],
    ),
    mutant(
        "what-one-user-left-reaches-the-next-psycopg",
        "trap 34a",
        "a role or a setting of one transaction is there in another's",
        (
            CLEANING,
            '"RESET SESSION AUTHORIZATION; RESET ALL; CLOSE ALL; UNLISTEN *;"',
            '"CLOSE ALL; UNLISTEN *;"',
        ),
        by=[test(f"{_POOLS}test_nothing_of_one_user_reaches_the_next[psycopg-sync]")],
    ),
    mutant(
        "what-one-user-left-reaches-the-next-asyncpg",
        "trap 34a",
        "a role or a setting of one transaction is there in another's",
        (
            ASYNCPG_CONNECTION,
            "        if self.soiled:\n            query,",
            "        if False:\n            query,",
        ),
        by=[test(f"{_POOLS}test_the_next_user_begins_clean_and_can_prepare[asyncpg-None]")],
    ),
    mutant(
        "asyncpg-cleaned-in-the-next-users-transaction",
        "trap 11, trap 34a",
        "an UNLISTEN refuses its PREPARE, and a rollback brings the last user's settings back",
        (CLEANING, 'Sql(f"BEGIN; {CLEAN.text}; COMMIT")', "CLEAN"),
        by=[test(f"{_POOLS}test_the_next_user_begins_clean_and_can_prepare[asyncpg-None]")],
    ),
    mutant(
        "asyncpg-connection-lent-while-it-is-cleaned",
        "trap 34a",
        "its next user finds another operation in progress, or the last one's settings",
        (
            ASYNCPG_POOL,
            "if (cleaning := self._cleaning.get(raw)) is None:",
            "if (cleaning := self._cleaning.get(raw)) is None or cleaning:",
        ),
        by=[test(f"{_SILENCE}test_a_connection_that_could_not_be_cleaned_is_not_lent[asyncpg]")],
    ),
    mutant(
        "asyncpg-connection-taken-for-idle-when-it-is-lent-again",
        "trap 34a",
        "it is cleaned under its next user's hands",
        (
            ASYNCPG_POOL,
            "                self._idle.pop(raw, None)\n",
            "",
        ),
        by=[test(f"{_POOLS}test_what_is_lent_again_at_once_is_not_taken_for_idle[asyncpg]")],
    ),
    mutant(
        "asyncpg-connection-that-could-not-be-cleaned-is-lent",
        "trap 34a",
        "a database that was away for a moment fails the next transaction, too",
        (ASYNCPG_POOL, "                if not session.broken:\n", "                if True:\n"),
        by=[test(f"{_SILENCE}test_a_connection_that_could_not_be_cleaned_is_not_lent[asyncpg]")],
    ),
    mutant(
        "asyncpg-idle-connection-keeps-its-last-users-locks",
        "trap 34a",
        "a session's advisory lock stands for as long as nobody else needs a connection",
        (ASYNCPG_POOL, "                await raw.clean()\n", "                pass\n"),
        by=[
            test(f"{_POOLS}test_what_a_user_left_does_not_stand_until_the_next_one_comes[asyncpg]")
        ],
    ),
)
