"""Runs of commit and recovery as transcripts: read them in ``scenarios/*.txt``.

Lines that begin with ``>`` are commands to the stage, the lines under each are what happened.
After a change, ``PAXCOMMIT_REWRITE=1 pytest tests/protocol/test_scenarios.py`` rewrites them: read
the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paxcommit.protocol.recovery import Mandate
from tests.protocol.stage import Stage

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


def play(text: str) -> str:
    """Run the commands of a scenario, and write what happened under each."""
    stage = Stage({})
    lines = []
    for line in text.splitlines():
        if line.startswith("#"):
            lines.append(line)
        elif line.startswith("> "):
            begun = len(stage.transcript)
            stage = command(stage, line.removeprefix("> "))
            happened = stage.transcript[begun:] + (stage.state() if line == "> show" else [])
            lines += [line, *(f"  {what}" for what in happened), *[""] * bool(happened)]
    return "\n".join(lines).rstrip() + "\n"


def command(stage: Stage, line: str) -> Stage:
    name, _, rest = line.partition(" ")
    match name:
        case "databases":
            return Stage(dict(word.split("=") for word in rest.split()))
        case "commit":
            stage.commit(rest or "coordinator")
        case "recover":
            mandate, _, who = rest.partition(" as ")
            stage.recover(Mandate[mandate.upper()], who or "recoverer")
        case "run":
            stage.run(rest.removeprefix("until ") or None)
        case "down":
            stage.down |= {rest}
        case "up":
            stage.down -= {rest}
        case "crash" | "hold" | "lose" | "lose-answer" | "let":
            getattr(stage, name.replace("-", "_"))(rest)
        case "release":
            stage.release()
        case _:
            assert name == "show", f"no such command: {line}"
    return stage


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scenario_plays_as_written(path: Path) -> None:
    written = path.read_text(encoding="utf-8")
    played = play(written)
    if os.environ.get("PAXCOMMIT_REWRITE"):
        path.write_text(played, encoding="utf-8")
        pytest.skip("rewritten")
    assert played == written


def test_there_are_scenarios() -> None:
    assert SCENARIOS
