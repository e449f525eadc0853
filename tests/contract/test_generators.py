"""SQL is written once, as a generator; it runs unchanged over every driver."""

from __future__ import annotations

from typing import TypeVar

import pytest

from paxcommit.ports import AsyncSession, BeginOptions
from paxcommit.sql.statement import DatabaseError, Notice, Sql, Statements, Unanswered

T = TypeVar("T")


async def run(session: AsyncSession, statements: Statements[T]) -> T:
    """Drive the generator: answers are sent in, failures thrown in."""
    try:
        sql = next(statements)
        while True:
            try:
                result = await session.execute(sql)
            except (DatabaseError, Unanswered) as exc:
                sql = statements.throw(exc)
            else:
                sql = statements.send(result)
    except StopIteration as end:
        return end.value


def transfer(amount: int) -> Statements[dict[str, object]]:
    """Everything that the library's own SQL relies on, in one go."""
    told: dict[str, object] = {}
    filled = yield Sql(
        "INSERT INTO account SELECT id, $1::int FROM unnest($2::int[]) id RETURNING id, balance",
        (amount, [1, 2]),
    )
    told["filled"] = (filled.rows, filled.tag)
    try:
        yield Sql("INSERT INTO account VALUES ($1, 0)", (1,))
    except DatabaseError as error:
        told["refused"] = error.sqlstate
    found = yield Sql(
        "SELECT array_agg(id ORDER BY id), sum(balance)::bigint, bool_and(balance > 0), $1::text,"
        " array_agg(id::text ORDER BY id) FROM account WHERE id = any($2)",
        (None, [2, 1, 3]),
    )
    told["found"] = found.rows
    warned = yield Sql(
        "DO $$ begin raise warning 'mind'; end $$; UPDATE account SET balance = 0", notices=True
    )
    told["warned"] = (warned.tag, warned.notices)
    gone = yield Sql("DELETE FROM account WHERE balance = $1", (0,))
    told["gone"] = gone.tag
    return told


async def test_one_generator_runs_unchanged_on_every_driver(session: AsyncSession):
    assert await run(session, transfer(10)) == {
        "filled": ([(1, 10), (2, 10)], "INSERT 0 2"),
        "refused": "23505",
        "found": [([1, 2], 20, True, None, ["1", "2"])],
        "warned": ("UPDATE 2", (Notice("WARNING", "01000", "mind"),)),
        "gone": "DELETE 2",
    }


async def test_an_unanswered_statement_reaches_the_generator(session: AsyncSession):
    def asks() -> Statements[str]:
        try:
            yield Sql("SELECT 1")
        except Unanswered:
            return "unknown"
        return "answered"

    assert await run(session, asks()) == "answered"
    session.discard()
    assert await run(session, asks()) == "unknown"


async def test_a_generator_inside_a_transaction(session: AsyncSession, gid: str):
    def branch() -> Statements[tuple[str, str]]:
        yield Sql("SELECT set_config('paxcommit.txid', $1, true)", ("1-00-1",))
        seen = yield Sql("SELECT current_setting('paxcommit.txid', true)")
        prepared = yield Sql(f"INSERT INTO account VALUES (1, 0); PREPARE TRANSACTION '{gid}'")
        return seen.rows[0][0], prepared.tag

    await session.begin(BeginOptions(isolation="read committed"))
    assert await run(session, branch()) == ("1-00-1", "PREPARE TRANSACTION")
    await session.settle()
    finished = await session.execute(Sql(f"ROLLBACK PREPARED '{gid}'"))
    assert finished.tag == "ROLLBACK PREPARED"
    assert (await session.execute(Sql("SELECT count(*) FROM account"))).rows == [(0,)]


@pytest.mark.parametrize("value", [0, 2**15, 2**31, 2**62])
async def test_an_int_fits_a_bigint_parameter_whatever_its_size(session: AsyncSession, value: int):
    """psycopg sends the smallest type that fits; functions that take bigint accept them all."""
    await session.execute(
        Sql(
            "CREATE FUNCTION pg_temp.same(one bigint, many bigint[]) RETURNS bigint"
            " LANGUAGE sql AS 'SELECT least(one, many[1])'"
        )
    )
    result = await session.execute(Sql("SELECT pg_temp.same($1, $2)", (value, [value])))
    assert result.rows == [(value,)]
