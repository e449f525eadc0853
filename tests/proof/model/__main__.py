"""``python -m tests.proof.model``: explore scopes, and end with one line of JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from tests.proof.model.running import COUNT, Result, run_all
from tests.proof.model.scope import Scope
from tests.proof.model.scopes import SCOPES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 if every scope holds what it must."""
    options = _parse(arguments)
    if options.list:
        _list(options.json)
        return 0
    scopes = [SCOPES[name] for name in options.scope] or [
        scope for scope in SCOPES.values() if options.full or not scope.full
    ]
    results = []
    for result in run_all(scopes, pinned=not options.no_pin, workers=options.workers):
        results.append(result)
        if not options.json:
            _say(result, SCOPES[result.name])
    return _conclude(results)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.proof.model",
        description="Explore every state of small worlds, breadth first, with the real protocol.",
    )
    parser.add_argument(
        "--scope", nargs="+", action="extend", default=[], choices=SCOPES, metavar="NAME"
    )
    parser.add_argument("--full", action="store_true", help="deeper scopes, too")
    parser.add_argument("--list", action="store_true", help="tell which scopes there are")
    parser.add_argument("--json", action="store_true", help="nothing but JSON")
    parser.add_argument("--no-pin", action="store_true", help="any number of states will do")
    parser.add_argument("--workers", type=int, default=2, help="scopes at a time (2)")
    return parser.parse_args(arguments)


def _list(as_json: bool) -> None:
    for scope in SCOPES.values():
        if as_json:
            continue
        count = "not pinned" if scope.states is None else f"{scope.states:,} states"
        print(f"{scope.name}: {scope.purpose} ({count}{', --full only' if scope.full else ''})")
        for mistake in scope.kills:
            print(f"    kills: {mistake}")
    listed = {
        scope.name: {
            "purpose": scope.purpose,
            "kills": scope.kills,
            "states": scope.states,
            "full": scope.full,
        }
        for scope in SCOPES.values()
    }
    if as_json:
        print(json.dumps(listed))


def _say(result: Result, scope: Scope) -> None:
    found = f"{result.states:,} states, {result.depth} steps deep, {result.seconds:.1f} s"
    match result.violation:
        case None:
            print(f"{result.name}: {found}", flush=True)
        case violation if violation == COUNT:
            print(f"{result.name}: {found}; pinned are {scope.states or 0:,}", flush=True)
        case violation:
            print(f"{result.name}: {violation}, after {found}")
            for number, line in enumerate(result.trace, 1):
                print(f"  {number:2}. {line}")
            sys.stdout.flush()


def _conclude(results: Sequence[Result]) -> int:
    # A violation proper says more than a mere count.
    bad = sorted((r for r in results if r.violation), key=lambda result: result.violation == COUNT)
    for result in bad[:1]:
        print(
            json.dumps(
                {
                    "ok": False,
                    "scope": result.name,
                    "violation": result.violation,
                    "states": result.states,
                    "seconds": round(result.seconds, 1),
                    "trace": result.trace,
                    "failed": sorted(result.name for result in bad),
                }
            )
        )
        return 1
    scopes = {
        result.name: {"states": result.states, "seconds": round(result.seconds, 1)}
        for result in sorted(results, key=lambda result: result.name)
    }
    total = sum(result.states for result in results)
    print(json.dumps({"ok": True, "states": total, "scopes": scopes}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
