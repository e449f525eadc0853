"""A history is whole, strictly read, and says where it is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from paxcommit.errors import ConfigurationError, InvariantViolation
from paxcommit.testing.chaos.events import AcceptorVoted, Begun, End, Event, InDoubt, Leg, Run
from paxcommit.testing.chaos.history import HistoryError, Recorder, read_history, read_lines
from tests.chaos.bad_histories_story import good

RUN = Run(0.0, 1, 7, 3.0, "embedded", "asyncpg", "c", {"bank_a": {1: 5}}, ("delay",), False)
BEGUN = Begun(0.5, "1-00000000000000c1-1", "c1", "local", (Leg("bank_a", 1, -3),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def record(path: Path, *events: Event) -> None:
    with Recorder(path) as recorder:
        for event in events:
            recorder.write(event)


def test_what_is_written_is_read(path: Path) -> None:
    record(path, RUN, BEGUN)
    history = read_history(path)
    assert history.run == RUN
    assert history.events == (RUN, BEGUN, End(0.5, 2))
    assert list(history) == [(1, RUN), (2, BEGUN), (3, End(0.5, 2))]


def test_every_kind_of_event_is_read_as_it_was_written(path: Path) -> None:
    events = [*read_lines(good().lines()).events[:-1], AcceptorVoted(61.5, "a3", "by hand")]
    record(path, *events)
    history = read_history(path)
    assert history.events[:-1] == tuple(events)
    assert {type(event) for event in history.events} == set(get_args(Event))


def test_a_line_is_with_the_system_as_soon_as_it_is_written(path: Path) -> None:
    recorder = Recorder(path)
    with recorder:
        recorder.write(RUN)
        assert json.loads(path.read_text())["event"] == "run"


def test_a_run_that_breaks_off_leaves_a_history_that_is_refused(path: Path) -> None:
    def break_off() -> None:
        with Recorder(path) as recorder:
            recorder.write(RUN)
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    with pytest.raises(HistoryError, match="line 1: there is no end: the run was cut off") as told:
        read_history(path)
    assert told.value.flaw == "truncated"


@pytest.mark.parametrize(
    "event",
    [
        # a shape that the type checker refuses, too
        Begun(0.5, "1-00000000000000c1-1", "c1", "unheard-of", ()),  # type: ignore[arg-type]
        InDoubt(0.5, -1, 0.0, 0),
        InDoubt(-0.5, 1, 0.0, 0),
        InDoubt(0.5, 1, float("inf"), 0),
    ],
)
def test_what_reading_would_refuse_is_not_written(path: Path, event: Event) -> None:
    record(path, RUN)
    with Recorder(path) as recorder:
        recorder.write(RUN)
        with pytest.raises(ValidationError):
            recorder.write(event)
    assert read_history(path).events == (RUN, End(0.0, 1))


@pytest.mark.parametrize("events", [[BEGUN], [RUN, RUN]])
def test_a_history_begins_with_its_one_run(path: Path, events: list[Event]) -> None:
    with pytest.raises(InvariantViolation, match="begins with its one run"):
        record(path, *events)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot write .*: Is a directory"):
        record(tmp_path, RUN)


def test_a_run_that_never_began_leaves_the_file_alone(path: Path) -> None:
    path.write_text("an earlier one")
    record(path)
    assert path.read_text() == "an earlier one"


def test_a_file_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(HistoryError, match="No such file or directory") as told:
        read_history(path)
    assert (told.value.flaw, told.value.line) == ("unreadable", 0)


PROCESS = next(
    number for number, line in enumerate(good().lines(), start=1) if b"process-started" in line
)


def edited(line: int, **fields: Any) -> list[bytes]:
    lines = good().lines()
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **fields}).encode()
    return lines


@pytest.mark.parametrize(
    ("line", "fields", "said"),
    [
        (2, {"bank": 7}, "decoy-placed.bank: Input should be a valid string"),
        (2, {"event": "decoy"}, "Input tag 'decoy'"),
        (2, {"hand": True}, "decoy-placed.hand: Unexpected keyword argument"),
        (PROCESS, {"role": "boss"}, "process-started.role: Input should be 'coordinator' or"),
        (PROCESS, {"pid": "101"}, "process-started.pid: Input should be a valid integer"),
        (PROCESS, {"at": -1}, "process-started.at: Input should be greater than or equal to 0"),
    ],
)
def test_an_error_names_the_line_and_the_field(
    line: int, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(HistoryError) as told:
        read_lines(edited(line, **fields))
    assert str(told.value).startswith(f"line {line}: {said}")
    assert told.value.line == line


def test_any_other_file_is_no_history(path: Path) -> None:
    path.write_bytes(os.urandom(4_096))
    with pytest.raises(HistoryError) as told:
        read_history(path)
    assert told.value.flaw == "no-run"
