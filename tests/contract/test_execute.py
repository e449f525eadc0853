"""One statement, or several in one string: rows, tag, notices, errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from paxcommit.ports import AsyncSession, BeginOptions
from paxcommit.sql.statement import DatabaseError, Notice, Sql
from paxcommit.testing import Cluster

VALUES = [
    ("int", 42),
    ("bigint", -(2**63)),
    ("text", "a 'quoted' \\ ü %s $1"),
    ("text", ""),
    ("bool", True),
    ("bool", False),
    ("float8", 0.1),
    ("int", None),
    ("text", None),
    ("bigint[]", [1, 2**40, -3]),
    ("bigint[]", []),
    ("text[]", ["a", "", "b,c", "{}", 'quo"te', "ü"]),
    ("text[]", []),
]


@pytest.mark.parametrize(("kind", "value"), VALUES)
async def test_values_go_there_and_come_back(session: AsyncSession, kind: str, value: object):
    result = await session.execute(Sql(f"SELECT $1::{kind}", (value,)))
    assert result.rows == [(value,)]
    assert type(result.rows[0]) is tuple
    assert type(result.rows[0][0]) is type(value)


async def test_several_values_in_several_rows(session: AsyncSession):
    result = await session.execute(
        Sql("SELECT n, $1::text, $2::bool FROM generate_series(1, $3::int) n", ("x", True, 3))
    )
    assert result.rows == [(1, "x", True), (2, "x", True), (3, "x", True)]
    assert result.tag == "SELECT 3"


@pytest.mark.parametrize(
    ("text", "rows", "tag"),
    [
        ("SELECT 1", [(1,)], "SELECT 1"),
        ("  select 'a', true, array[1,2];\n", [("a", True, [1, 2])], "SELECT 1"),
        ("SELECT 1 WHERE false", [], "SELECT 0"),
        ("SHOW client_encoding", [("UTF8",)], "SHOW"),
        ("VALUES (1), (2)", [(1,), (2,)], "SELECT 2"),
        ("WITH x AS (SELECT 7) SELECT * FROM x", [(7,)], "SELECT 1"),
        ("INSERT INTO account VALUES (1, 10) RETURNING balance", [(10,)], "INSERT 0 1"),
    ],
)
async def test_one_statement_without_arguments_gives_its_rows(
    session: AsyncSession, text: str, rows: list[object], tag: str
):
    result = await session.execute(Sql(text))
    assert result.rows == rows
    assert result.tag == tag


@pytest.mark.parametrize(
    ("text", "args", "tag"),
    [
        ("SELECT n INTO copy FROM generate_series(1, $1::int) n", (2,), "SELECT 2"),
        ("INSERT INTO account VALUES ($1, $2), (2, 0)", (1, 10), "INSERT 0 2"),
        ("UPDATE account SET balance = $1", (1,), "UPDATE 0"),
        ("DELETE FROM account WHERE id = any($1)", ([1, 2],), "DELETE 0"),
        ("CREATE TABLE other ()", (), "CREATE TABLE"),
        ("BEGIN", (), "BEGIN"),
        ("SET lock_timeout = 1", (), "SET"),
        ("DO 'begin end'", (), "DO"),
    ],
)
async def test_the_tag_is_the_servers(
    session: AsyncSession, text: str, args: tuple[object, ...], tag: str
):
    result = await session.execute(Sql(text, args))
    assert result.tag == tag
    assert not result.rows
    await session.execute(Sql("DROP TABLE IF EXISTS copy, other"))


async def test_of_several_statements_the_last_ones_tag_and_no_rows(session: AsyncSession):
    result = await session.execute(
        Sql("SELECT 1; INSERT INTO account VALUES (1, 10), (2, 20); SELECT 1; DELETE FROM account")
    )
    assert result.tag == "DELETE 2"
    assert not result.rows
    result = await session.execute(Sql("SELECT 1; SELECT 2"))
    assert result.tag == "SELECT 1"
    assert not result.rows


async def test_a_string_without_arguments_stays_one_simple_query(session: AsyncSession):
    """However often it is run, it is never prepared (several statements cannot be; trap 17)."""
    for _ in range(12):
        result = await session.execute(Sql("DELETE FROM account; SET lock_timeout = 1"))
        assert result.tag == "SET"
        assert (await session.execute(Sql("DELETE FROM account"))).tag == "DELETE 0"
    found = await session.execute(
        Sql("SELECT count(*) FROM pg_prepared_statements WHERE statement ~* '^delete'")
    )
    assert found.rows == [(0,)]


async def test_notices_come_in_order_with_their_sqlstate(session: AsyncSession):
    await session.execute(Sql("SET client_min_messages = notice; SET lc_messages = 'C'"))
    result = await session.execute(
        Sql(
            "DO $$ begin raise info 'one'; raise warning 'two'; raise notice 'three';"
            " raise warning 'four' using errcode = 'PX001'; end $$; DROP TABLE IF EXISTS absent",
            notices=True,
        )
    )
    assert result.notices == (
        Notice("INFO", "00000", "one"),
        Notice("WARNING", "01000", "two"),
        Notice("NOTICE", "00000", "three"),
        Notice("WARNING", "PX001", "four"),
        Notice("NOTICE", "00000", 'table "absent" does not exist, skipping'),
    )
    assert (await session.execute(Sql("SELECT 1", notices=True))).notices == ()


async def test_notices_that_nobody_wants_stay_away(session: AsyncSession):
    warns = "DO $$ begin raise warning 'mind'; end $$"
    assert (await session.execute(Sql(warns))).notices == ()
    assert len((await session.execute(Sql(warns, notices=True))).notices) == 1


async def test_notices_beside_rows(session: AsyncSession):
    await session.execute(
        Sql(
            "CREATE FUNCTION pg_temp.warns(n int) RETURNS int LANGUAGE plpgsql AS"
            " $$ begin raise warning 'about %', n; return n; end $$"
        )
    )
    for _ in range(3):
        result = await session.execute(Sql("SELECT pg_temp.warns($1)", (5,), notices=True))
        assert result.rows == [(5,)]
        assert result.notices == (Notice("WARNING", "01000", "about 5"),)


async def test_an_error_of_the_server_leaves_the_session_in_step(session: AsyncSession):
    await session.execute(Sql("INSERT INTO account VALUES (1, 10)"))
    with pytest.raises(DatabaseError) as caught:
        await session.execute(Sql("INSERT INTO account VALUES ($1, $2)", (1, 10)))
    assert caught.value.sqlstate == "23505"
    assert "account_pkey" in caught.value.message
    assert caught.value.detail == "Key (id)=(1) already exists."
    assert not session.broken
    assert not session.in_transaction
    assert (await session.execute(Sql("SELECT 1"))).rows == [(1,)]


@pytest.mark.parametrize("text", ["SELECT 1/0", "SELEC", "SELECT 1; SELECT 1/0; SELECT 1"])
async def test_errors_without_arguments(session: AsyncSession, text: str):
    with pytest.raises(DatabaseError) as caught:
        await session.execute(Sql(text))
    assert caught.value.sqlstate in ("22012", "42601")
    assert caught.value.detail == ""
    assert not session.broken


async def test_an_own_sqlstate_and_a_later_error_of_several(session: AsyncSession):
    with pytest.raises(DatabaseError) as caught:
        await session.execute(
            Sql(
                "INSERT INTO account VALUES (1, 1);"
                " DO $$ begin raise 'no' using errcode = 'PX002', detail = 'why'; end $$"
            )
        )
    assert (caught.value.sqlstate, caught.value.message, caught.value.detail) == (
        "PX002",
        "no",
        "why",
    )
    assert (await session.execute(Sql("SELECT count(*) FROM account"))).rows == [(0,)]


async def test_a_failed_transaction_is_still_a_transaction(session: AsyncSession):
    await session.begin(BeginOptions())
    with pytest.raises(DatabaseError):
        await session.execute(Sql("SELECT 1/0"))
    assert session.in_transaction
    with pytest.raises(DatabaseError) as caught:
        await session.execute(Sql("SELECT 1"))
    assert caught.value.sqlstate == "25P02"
    await session.settle()
    assert not session.in_transaction


async def test_sessions_are_in_autocommit(session: AsyncSession, place):
    await session.execute(Sql("INSERT INTO account VALUES ($1, $2)", (1, 10)))
    assert not session.in_transaction
    assert place.execute("select balance from account") == [(10,)]


async def test_a_database_without_an_encoding_answers_with_text(
    cluster: Cluster, connect: Callable[[str], Awaitable[AsyncSession]]
):
    server = cluster.servers[0]
    server.execute("create database nameless template template0 encoding 'SQL_ASCII'")
    try:
        session = await connect(server.dsn("nameless"))
        assert (await session.execute(Sql("SELECT 'ü'::text"))).rows == [("ü",)]
        session.discard()
    finally:
        server.execute("drop database nameless with (force)")
