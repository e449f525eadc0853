"""The tap on the wire counts what it says, message by message."""

from __future__ import annotations

from typing import cast

import pytest

from paxcommit.errors import ClusterError
from paxcommit.testing.bench.tapping import Tap
from paxcommit.testing.chaos.rules import Wire


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


def untyped(code: int) -> bytes:
    return (8).to_bytes(4) + code.to_bytes(4)


SSL_REQUEST, STARTUP = untyped(80877103), untyped(196608)
READY, COMPLETE, SYNC = message(b"Z", b"I"), message(b"C", b"BEGIN\0"), message(b"S")


class Talk:
    """One connection through a tap, logged in."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._wire = cast(Wire, object())
        self.up(SSL_REQUEST)
        self.down(b"N")
        self.up(STARTUP)
        self.down(message(b"R", bytes(4)) + READY)

    def up(self, data: bytes) -> None:
        assert self._tap.pass_on(self._wire, "up", data)

    def down(self, data: bytes) -> None:
        assert self._tap.pass_on(self._wire, "down", data)

    def query(self, text: bytes) -> None:
        self.up(message(b"Q", text + b"\0"))
        self.down(COMPLETE + READY)


@pytest.fixture
def tap() -> Tap:
    return Tap()


def test_logging_in_costs_nothing(tap: Tap) -> None:
    Talk(tap)
    assert not tap.counted


def test_a_string_of_statements_is_one_round_trip(tap: Tap) -> None:
    talk = Talk(tap)
    talk.up(message(b"Q", b"BEGIN; COMMIT\0"))
    talk.down(COMPLETE + COMPLETE + READY)
    assert tap.counted == {"round trips": 1, "statements": 2}


def test_a_pipeline_is_one_round_trip(tap: Tap) -> None:
    talk = Talk(tap)
    talk.up(message(b"P", b"\0SELECT 2\0\0\0") + SYNC + SYNC)
    talk.down(COMPLETE + READY)
    talk.up(SYNC)
    talk.down(READY + READY)
    assert tap.counted == {"round trips": 1, "statements": 1}


def test_what_waits_for_an_answer_is_another_one(tap: Tap) -> None:
    talk = Talk(tap)
    talk.query(b"BEGIN")
    talk.query(b"COMMIT")
    assert tap.counted == {"round trips": 2, "statements": 2}


def test_messages_may_arrive_in_pieces(tap: Tap) -> None:
    talk = Talk(tap)
    for byte in message(b"Q", b"BEGIN\0"):
        talk.up(bytes([byte]))
    for byte in COMPLETE + READY:
        talk.down(bytes([byte]))
    assert tap.counted == {"round trips": 1, "statements": 1}


def test_a_failed_statement_is_a_statement(tap: Tap) -> None:
    talk = Talk(tap)
    talk.up(message(b"Q", b"nonsense\0"))
    talk.down(message(b"E", b"SERROR\0\0") + READY)
    assert tap.counted == {"round trips": 1, "statements": 1}


def test_heartbeats_are_counted_apart(tap: Tap) -> None:
    talk = Talk(tap)
    talk.query(b"SELECT 1")
    talk.up(message(b"P", b"one\0SELECT 1\0\0\0") + SYNC)
    talk.down(READY)
    talk.up(message(b"B", b"\0one\0" + bytes(6)) + message(b"E", b"\0" + bytes(4)) + SYNC)
    talk.down(COMPLETE + READY)
    assert tap.counted == {"heartbeats": 3}
    talk.query(b"SELECT 2")
    assert tap.counted["round trips"] == tap.counted["statements"] == 1


def test_it_is_not_quiet_while_an_answer_is_due(tap: Tap) -> None:
    talk = Talk(tap)
    talk.up(message(b"Q", b"BEGIN\0"))
    assert not tap.is_quiet


def test_what_is_encrypted_is_not_counted_as_nothing(tap: Tap) -> None:
    wire = cast(Wire, object())
    tap.pass_on(wire, "up", SSL_REQUEST)
    with pytest.raises(ClusterError, match="TLS"):
        tap.pass_on(wire, "down", b"S")
