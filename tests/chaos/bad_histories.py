"""Bad histories, made by hand: each is the good one with one change, for one violation.

``python -m tests.chaos.bad_histories`` has the judge read all of them: it must find in each exactly
what was done to it, and nothing in those that only look odd.  With ``--json`` the last line is for
machines.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.chaos import (
    bad_histories_banks,
    bad_histories_fair,
    bad_histories_run,
    bad_histories_said,
)
from tests.chaos.bad_histories_registry import BAD, FAIR, Bad, find

__all__ = ["BAD", "FAIR", "Bad", "find", "main"]

MODULES = (bad_histories_banks, bad_histories_said, bad_histories_run, bad_histories_fair)
"""Each adds to the lists."""


def main(arguments: list[str] | None = None) -> int:
    """Have all of them judged; 0 if the judge saw through every one."""
    parser = argparse.ArgumentParser(prog="tests.chaos.bad_histories", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document, the last line")
    as_json = parser.parse_args(arguments).json
    rejected = 0
    for each in BAD.values():
        found = each.found()
        rejected += found == {each.violation}
        mark = "rejected" if found == {each.violation} else f"NOT SO: {sorted(found) or 'accepted'}"
        print(f"{each.name.replace('_', ' '):66} {each.violation:32} {mark}")
    accepted = 0
    for name, lines in FAIR.items():
        found = find(lines())
        accepted += not found
        said = f"NOT SO: {sorted(found)}" if found else "accepted"
        print(f"{name.replace('_', ' '):66} {'':32} {said}")
    ok = rejected == len(BAD) and accepted == len(FAIR)
    if as_json:
        print(json.dumps({"ok": ok, "histories": len(BAD), "rejected": rejected}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
