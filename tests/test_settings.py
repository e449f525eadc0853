"""Settings: where they come from, what is refused, and that a password never gets out."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from paxcommit.dsn import parse_dsn
from paxcommit.errors import ConfigurationError, InvalidName
from paxcommit.settings import Participant, Settings

SECRET = "hunter2"


def good() -> dict[str, Any]:
    return {
        "cluster": "shop",
        "acceptors": {f"a{n}": f"postgresql://u:{SECRET}@db{n}/witness" for n in (1, 2, 3)},
        "participants": {
            "orders": f"postgresql://u:{SECRET}@db1/orders",
            "billing": {"dsn": f"postgresql://u:{SECRET}@db2/billing", "role": "finisher"},
        },
    }


def toml(path: Path) -> Path:
    path.write_text(
        f"""
        cluster = "shop"
        [acceptors]
        a1 = "postgresql://u:{SECRET}@db1/witness"
        a2 = "postgresql://u:{SECRET}@db2/witness"
        a3 = "postgresql://u:{SECRET}@db3/witness"
        [participants]
        orders = "postgresql://u:{SECRET}@db1/orders"
        billing = {{ dsn = "postgresql://u:{SECRET}@db2/billing", role = "finisher" }}
        """
    )
    return path


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith("PAXCOMMIT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refused(source: Any = None) -> str:
    """The error's text; also sees to it that nothing of the error can show a password."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(source)
    told: BaseException | None = caught.value
    while told is not None:
        assert SECRET not in str(told) + repr(told) + repr(vars(told))
        told = told.__cause__ or told.__context__
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def test_a_file_says_everything(tmp_path: Path) -> None:
    settings = Settings.load(toml(tmp_path / "x.toml"))
    assert settings.acceptors["a2"].get_secret_value() == f"postgresql://u:{SECRET}@db2/witness"
    assert (settings.f, settings.majority) == (1, 2)
    assert settings.participant("orders").role is None
    assert settings.participant("billing").role == "finisher"
    assert str(settings.participant_address("billing")) == "db2:5432/billing"
    assert (settings.deadline, settings.pool_size) == (5.0, 10)


def test_a_mapping_and_settings_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAXCOMMIT_CLUSTER", "other")
    settings = Settings.load(good())
    assert settings.cluster == "shop"
    assert Settings.load(settings) is settings


def test_one_acceptor_survives_no_failure_and_is_allowed() -> None:
    source = good() | {"acceptors": {"a1": "postgresql://db1/witness"}}
    assert (Settings.load(source).f, Settings.load(source).majority) == (0, 1)


def test_the_default_file_is_in_the_working_directory(tmp_path: Path) -> None:
    toml(tmp_path / "paxcommit.toml")
    assert Settings.load().cluster == "shop"


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAXCOMMIT_CONFIG", str(toml(tmp_path / "x.toml")))
    assert Settings.load().cluster == "shop"


def test_the_environment_overrides_the_file_entry_by_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAXCOMMIT_ACCEPTORS__A3", "postgresql://elsewhere/witness")
    monkeypatch.setenv("PAXCOMMIT_PARTICIPANTS__BILLING", "postgresql://elsewhere/billing")
    monkeypatch.setenv("PAXCOMMIT_PARTICIPANTS__ORDERS__ROLE", "another")
    monkeypatch.setenv("PAXCOMMIT_DEADLINE", "2.5")
    monkeypatch.setenv("PAXCOMMIT_RECOVERY__POLL_INTERVAL", "1")
    settings = Settings.load(toml(tmp_path / "x.toml"))
    assert [str(settings.acceptor_address(name)) for name in settings.acceptors] == [
        "db1:5432/witness",
        "db2:5432/witness",
        "elsewhere:5432/witness",
    ]
    assert str(settings.participant_address("billing")) == "elsewhere:5432/billing"
    assert settings.participant("billing").role == "finisher"
    assert str(settings.participant_address("orders")) == "db1:5432/orders"
    assert settings.participant("orders").role == "another"
    assert (settings.deadline, settings.recovery.poll_interval) == (2.5, 1.0)


@pytest.mark.parametrize("role_first", [True, False])
def test_the_environment_alone_suffices(monkeypatch: pytest.MonkeyPatch, role_first: bool) -> None:
    monkeypatch.setenv("PAXCOMMIT_CLUSTER", "shop")
    monkeypatch.setenv("PAXCOMMIT_ACCEPTORS", '{"a1": "postgresql://db1/witness"}')
    variables = [
        ("PAXCOMMIT_PARTICIPANTS__ORDERS", "postgresql://db1/orders"),
        ("PAXCOMMIT_PARTICIPANTS__ORDERS__ROLE", "finisher"),
    ]
    for name, value in sorted(variables, reverse=role_first):
        monkeypatch.setenv(name, value)
    assert Settings.load().participant("orders").role == "finisher"


def test_trap_34b_a_missing_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no file 'nowhere.toml'" in refused("nowhere.toml")
    assert "there is no paxcommit.toml in the working directory" in refused()
    monkeypatch.setenv("PAXCOMMIT_CONFIG", "nowhere.toml")
    monkeypatch.setenv("PAXCOMMIT_CLUSTER", "shop")
    assert "no file 'nowhere.toml'" in refused()


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PAXCOMMIT_ACCEPTOR__A3", "did you mean PAXCOMMIT_ACCEPTORS__…?"),
        ("PAXCOMMIT_CLUSTR", "did you mean PAXCOMMIT_CLUSTER?"),
        ("PAXCOMMIT_ACCEPTORS_A1", "did you mean PAXCOMMIT_ACCEPTORS?"),
        ("PAXCOMMIT_CLUSTER__X", "means nothing"),
        ("paxcommit_zzz", "means nothing"),
    ],
)
def test_trap_34b_a_misspelt_variable_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, hint: str
) -> None:
    monkeypatch.setenv(variable, f"postgresql://u:{SECRET}@db9/witness")
    error = refused(toml(tmp_path / "x.toml"))
    assert variable in error
    assert hint in error


def test_the_other_variables_are_none_of_its_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TEST_POSTGRES", "TEST_IMAGE", "FAILPOINT", "DRIVER", "JSON"):
        monkeypatch.setenv(f"PAXCOMMIT_{name}", "x")
    assert Settings.load(toml(tmp_path / "x.toml")).cluster == "shop"


def test_a_variable_that_should_hold_json_and_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAXCOMMIT_ACCEPTORS", f"postgresql://u:{SECRET}@db1/witness")
    assert "must hold JSON objects" in refused()


@pytest.mark.parametrize(
    "text", [f'cluster = "{SECRET}', f"a1 = postgresql://u:{SECRET}@db1/x", "\x00"]
)
def test_a_malformed_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    assert "not a readable TOML file" in refused(tmp_path / "x.toml")


def _change(**changes: Any) -> dict[str, Any]:
    return good() | changes


def _acceptors(*dsns: str) -> dict[str, Any]:
    return _change(acceptors={f"a{n}": dsn for n, dsn in enumerate(dsns, 1)})


def _orders(dsn: str) -> dict[str, Any]:
    return _change(participants={"orders": dsn})


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (_acceptors("postgresql://a/w", "postgresql://b/w"), "make it 1 or 3"),
        (_acceptors(), "[acceptors] is empty"),
        (_change(participants={}), "[participants] is empty"),
        ({"cluster": "shop"}, "add a section [acceptors]"),
        ({k: v for k, v in good().items() if k != "cluster"}, "add cluster = …"),
        (_change(cluster="Shop"), "cluster 'Shop' is not allowed"),
        (_change(acceptors={"A1": "postgresql://a/w"}), "acceptor 'A1' is not allowed"),
        (_change(participants={"*": "postgresql://a/w"}), "participant '*' is not allowed"),
        (_change(acceptor={"a1": f"postgresql://u:{SECRET}@a/w"}), "did you mean acceptors?"),
        (_change(recovery={"poll_intervall": 1}), "did you mean poll_interval?"),
        (_change(recovery={"poll_interval": 0}), "'recovery.poll_interval'"),
        (_change(deadline="soon"), "'deadline'"),
        (_change(deadline=0), "'deadline'"),
        (_change(acceptors=f"postgresql://u:{SECRET}@a/w"), "'acceptors'"),
        (_change(participants={"x": {"dns": SECRET}}), "did you mean dsn?"),
        (_change(participants={"x": {"role": "r"}}), "'participants.x.dsn' is missing"),
        (
            _change(participants={"x": {"dsn": "postgresql://a/w", "role": '"'}}),
            "no quotes",
        ),
    ],
)
def test_settings_that_cannot_work_say_what_to_change(source: dict[str, Any], told: str) -> None:
    assert told in refused(source)


@pytest.mark.parametrize(
    "twin",
    [
        "postgresql://db1/witness",
        "postgres://other:x@DB1:5432/another_database",
        "postgresql:///w?host=db1&port=5432",
    ],
)
def test_the_same_server_twice_among_the_acceptors_is_an_error(twin: str) -> None:
    source = _acceptors("postgresql://u:x@db1/witness", "postgresql://db2/w", twin)
    assert "a1 and a3 are on the same server (db1:5432)" in refused(source)


def test_loopback_has_one_name() -> None:
    source = _acceptors("postgresql://127.0.0.1/w", "postgresql://[::1]/w", "postgresql://b/w")
    assert "same server (localhost:5432)" in refused(source)
    apart = _acceptors(*(f"postgresql://127.0.0.1:{port}/w" for port in (1, 2, 3)))
    assert Settings.load(apart).f == 1


def test_an_acceptor_is_one_server() -> None:
    assert "several hosts" in refused(_acceptors("postgresql://a,b/w"))
    assert Settings.load(_orders("postgresql://a:1,b/w")).participant_address("orders").host == (
        "a,b"
    )


def test_two_participants_with_one_database_is_an_error() -> None:
    one, other = "postgresql://u:x@db1/orders", "postgresql://v:y@DB1:5432/orders?sslmode=require"
    error = refused(_change(participants={"orders": one, "sales": other}))
    assert "orders and sales are the same database (db1:5432/orders)" in error


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        (f"host=db1 password={SECRET}", "not a URL"),
        (f"mysql://u:{SECRET}@db1/orders", "does not begin with postgresql://"),
        (f"postgresql+asyncpg://u:{SECRET}@db1/orders", "driver suffix"),
        (f"postgresql://u:{SECRET}@/orders", "names no host"),
        (f"postgresql://u:{SECRET}@db1", "names no database"),
        (f"postgresql://u:{SECRET}@db1:port/orders", "in the port's place"),
        (f"postgresql://u:12/{SECRET}@db1/orders", "percent-encode"),
        (f"postgresql://u:#{SECRET}@db1/orders", "%23"),
        (f"postgresql://u:?{SECRET}@db1/orders", "options after"),
        (f"postgresql://u:[{SECRET}@db1/orders", "not a well-formed URL"),
        ("", "not a URL"),
    ],
)
def test_trap_34_a_malformed_dsn_is_never_echoed(dsn: str, told: str) -> None:
    error = refused(_orders(dsn))
    assert told in error
    assert "participant orders" in error


def test_an_unknown_participant_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'order' \(did you mean orders\?\).* billing, o"):
        Settings.load(good()).participant("order")


def test_a_bad_name_is_an_invalid_name() -> None:
    with pytest.raises(InvalidName):
        Settings.load(_change(cluster="no spaces"))


def test_trap_34_settings_do_not_show_passwords() -> None:
    settings = Settings.load(good())
    for text in (repr(settings), str(settings), repr(settings.participants), str(vars(settings))):
        assert SECRET not in text
    assert SECRET not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:p%40ss@h/d", "h:5432/d"),
        ("postgresql://[fe80::1]:77/d", "[fe80::1]:77/d"),
        ("postgresql://%2Ftmp%2Fx/d?port=77", "/tmp/x:77/d"),
        ("postgresql:///d?host=/tmp/x", "/tmp/x:5432/d"),
        ("postgresql://h/my%20d", "h:5432/my d"),
    ],
)
def test_addresses(dsn: str, shown: str) -> None:
    assert str(parse_dsn(dsn, "x")) == shown


def test_trap_34_a_participant_made_by_hand_does_not_echo_its_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Participant.model_validate({"dns": f"postgresql://u:{SECRET}@h/d"})
    assert SECRET not in str(caught.value)
