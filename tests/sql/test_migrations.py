"""Installing, upgrading, checking and granting the schema."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from paxcommit.errors import SchemaError
from paxcommit.protocol.messages import Learn, Phase1a, Phase1b
from paxcommit.sql import schema
from paxcommit.sql.acceptor import ask
from paxcommit.sql.epoch import claim_identity, read_records
from paxcommit.sql.fencing import Standing, fence_blockers, place_fence, terminate_blocker
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import adopt_epoch, participant_epochs
from paxcommit.sql.refusals import Refusal
from paxcommit.sql.schema import MIGRATIONS, SCHEMA_VERSION, Migration, check_schema, ddl, install
from paxcommit.sql.statement import DatabaseError

NEXT = SCHEMA_VERSION + 1
COMPATIBLE = Migration(NEXT, SCHEMA_VERSION, "ALTER TABLE paxcommit.damage ADD COLUMN note text;")
INCOMPATIBLE = Migration(NEXT, NEXT, COMPATIBLE.text)


def scratch(own_home):
    """The same database without a schema."""
    own_home.admin("DROP SCHEMA paxcommit CASCADE")
    return own_home.connect()


def test_installing_twice_changes_nothing(own_home):
    identity = own_home.admin.run(claim_identity("a1")).identity
    assert own_home.admin.run(install()) is False
    assert own_home.admin.run(claim_identity("a1")).identity == identity
    own_home.admin.run(check_schema())


def test_an_older_schema_is_upgraded(own_home):
    client = scratch(own_home)
    assert client.run(install(migrations=MIGRATIONS)) is True
    assert client.run(install(migrations=(*MIGRATIONS, COMPATIBLE))) is True
    assert client.run(schema.read_version()) == (NEXT, SCHEMA_VERSION)
    client("SELECT note FROM paxcommit.damage")
    assert client.run(install(migrations=(*MIGRATIONS, COMPATIBLE))) is False


def test_code_accepts_the_next_schema_if_that_says_so(own_home):
    own_home.admin.run(install(migrations=(*MIGRATIONS, COMPATIBLE)))
    own_home.admin.run(check_schema())


def test_code_refuses_the_next_schema_if_that_does_not_say_so(own_home):
    own_home.admin.run(install(migrations=(*MIGRATIONS, INCOMPATIBLE)))
    with pytest.raises(SchemaError, match="newer paxcommit"):
        own_home.admin.run(check_schema())


def test_code_refuses_anything_newer(own_home):
    further = Migration(NEXT + 1, 1, "SELECT 1;")
    own_home.admin.run(install(migrations=(*MIGRATIONS, COMPATIBLE, further)))
    with pytest.raises(SchemaError, match="newer paxcommit"):
        own_home.admin.run(check_schema())
    with pytest.raises(SchemaError, match="newer paxcommit"):
        own_home.admin.run(install())
    assert not own_home.admin.session.in_transaction


def test_code_refuses_an_older_schema(home):
    with pytest.raises(SchemaError, match="paxcommit init"):
        home.admin.run(check_schema(NEXT))


def test_without_a_schema(own_home):
    client = scratch(own_home)
    assert client.run(schema.read_version()) is None
    assert client.run(read_records()) == ()
    assert client.run(participant_epochs()) == ()
    with pytest.raises(SchemaError, match="paxcommit init"):
        client.run(check_schema())
    with pytest.raises(SchemaError):
        own_home.ask(Learn(own_home.txid()), client=client)


def test_a_failed_migration_leaves_nothing(own_home):
    client = scratch(own_home)
    broken = Migration(NEXT, NEXT, "CREATE TABLE paxcommit.half (); SELECT 1/0;")
    with pytest.raises(DatabaseError, match="22012"):
        client.run(install(migrations=(*MIGRATIONS, broken)))
    assert client.run(schema.read_version()) is None
    assert client.run(install()) is True


def test_installers_take_turns(own_home):
    first = scratch(own_home)
    second = own_home.connect()
    steps = install()
    first.session.execute(next(steps))
    first.session.execute(steps.send(None))
    waiting = own_home.background(install(), second)
    assert waiting.waits()
    first("ROLLBACK")
    assert waiting.result() is True
    assert first.run(install()) is False


def test_the_script_installs_and_grants(own_home, role):
    name = role("service")
    client = scratch(own_home)
    client(ddl([name]))
    client.run(check_schema())
    own_home.connect(user=name).run(check_schema())


def test_a_role_may_coordinate_and_no_more(own_home, role):
    name = role("service")
    outsider = own_home.connect(user=role("outsider"))
    with pytest.raises(SchemaError, match="may not use"):
        own_home.ask(Phase1a(own_home.txid(), 1), client=outsider)
    own_home.admin.run(install([name]))
    assert own_home.admin.run(install([name])) is False
    service = own_home.connect(user=name)
    own_home.ask(Phase1a(own_home.txid(), 1), client=service)
    for forbidden in (
        "SELECT * FROM paxcommit.transaction",
        "UPDATE paxcommit.epoch SET sealed = false",
        "DELETE FROM paxcommit.branch",
        "SELECT nextval('paxcommit.mark')",
        "SELECT paxcommit.vote(1, '', '', 0, '{}', '{}', '{}', '{}', '{}', '{}')",
    ):
        with pytest.raises(DatabaseError, match="42501"):
            service(forbidden)
    with pytest.raises(SchemaError):
        service.run(adopt_epoch(2, own_home.record.digest, "other"))
    with pytest.raises(SchemaError):
        service.run(claim_identity("a1"))


def test_an_owner_need_not_be_a_superuser(own_home, role):
    owner = role("owner")
    client = scratch(own_home)
    client(f"ALTER DATABASE {own_home.place.database} OWNER TO {owner}")
    client(f"GRANT ALL ON account TO {owner}")
    client(f"GRANT pg_read_all_stats, pg_signal_backend TO {owner}")
    mine = own_home.connect(user=owner)
    own_home.settle_in(mine)
    txid, service = own_home.txid(), own_home.connect(user=role("service"))
    mine.run(install([service("SELECT current_user::text")[0][0]]))
    assert own_home.ask(Phase1a(txid, 1), client=service) == [Phase1b(txid, "a1", 1, {})]
    late = own_home.connect(user=owner)
    late.begin(txid)
    late("UPDATE account SET balance = 0 WHERE id = 1")
    late(
        "SELECT paxcommit.branch($1::text, 1, $2::bigint, 1, 'orders', 'branch')",
        own_home.record.digest,
        own_home.coordinator,
    )
    fencer = own_home.connect(user=owner)
    fencing = own_home.background(place_fence(own_home.record.digest, txid, "orders"), fencer)
    assert fencing.waits()
    (blocker,) = service.run(fence_blockers(fencer.pid))
    assert blocker.pid == late.pid
    assert service.run(terminate_blocker(fencer.pid, blocker))
    assert fencing.result() is Standing.FENCE


def test_functions_that_others_call_are_pinned_and_definers(home):
    rows = home.admin(
        "SELECT proname::text, prosecdef, coalesce('search_path=pg_catalog, pg_temp'"
        " = ANY (proconfig), false) FROM pg_proc WHERE pronamespace = 'paxcommit'::regnamespace"
    )
    public = set(schema._FUNCTIONS) | schema._OWNERS_ONLY
    assert {name for name, definer, _ in rows if definer} == public
    assert {name for name, _, pinned in rows if pinned} == public


def test_nothing_is_executable_by_everybody(home):
    rows = home.admin(
        "SELECT p.proname::text FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a"
        " WHERE p.pronamespace = 'paxcommit'::regnamespace AND a.grantee = 0"
        " UNION ALL SELECT proname FROM pg_proc"
        " WHERE pronamespace = 'paxcommit'::regnamespace AND proacl IS NULL"
    )
    assert rows == []


def test_sql_and_python_agree_on_the_refusals():
    text = "".join(
        file.read_text()
        for file in resources.files("paxcommit.sql.migrations").iterdir()
        if file.name.endswith(".sql")
    )
    assert set(re.findall(r"'(PX\d{3})'", text)) == set(Refusal)


def test_every_call_names_a_missing_schema(own_home):
    client = scratch(own_home)
    with pytest.raises(SchemaError):
        client.run(ask(own_home.authority, Marks(), [Phase1a(own_home.txid(), 1)]))
