"""``python -m tests.proof.crashpoints``: kill, or cut, at every point of commit and of recovery."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import get_args

from paxcommit.testing import Cluster

from .cases import Case
from .crew import Crew
from .enumeration import Enumeration, Part
from .pins import too_few
from .sabotage import CURES, take_out
from .selfcheck import check
from .stage import prepare
from .worker import Run, Violation, Worker

__all__ = ["main"]

_PROGRAM = "python -m tests.proof.crashpoints"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return the exit status."""
    options = _parser().parse_args(arguments)
    for cure in options.without:
        take_out(cure)
    if options.self_check:
        return _self_check(options)
    return _one(options) if options.case else _all(options)


def _all(options: argparse.Namespace) -> int:
    started = time.monotonic()
    work: list[tuple[Part, int]] = [
        (part, n)
        for part in get_args(Part)
        if part in (options.only or get_args(Part))
        for n in options.participants
        if part != "sync" or n == min(options.participants)
    ]
    cases: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    outcomes: Counter[str] = Counter()
    missed: defaultdict[tuple[str, int], set[str]] = defaultdict(set)

    def hear(part: Part, case: Case, run: Run | None) -> None:
        reached = run is None or run.happened
        (cases if reached else missed)[part, case.n].add(str(case))
        if run is None:
            _say(options, str(case))
        elif reached:
            outcomes["committed" if run.facts.noted else "aborted"] += 1

    wrong: Run | None = None
    with Cluster(3, settings={"max_connections": 200}) as cluster:
        books = [
            {n: prepare(cluster, n, f"_{job}_{n}") for n in options.participants}
            for job in range(options.jobs)
        ]
        with Crew(books) as crew:
            enumeration = Enumeration(crew, hear, sample=options.sample, listing=options.list)
            try:
                for part, n in work:
                    enumeration.run(part, n)
                    if not options.list:
                        done = f"{len(cases[part, n])} {part} with {n} participants"
                        _say(options, f"{done}: {time.monotonic() - started:.0f} s")
            except Violation as found:
                wrong = found.run
    total = sum(map(len, cases.values()))
    if wrong is not None:
        _say(options, f"VIOLATION in {wrong.case}: {wrong.violation}\nTo repeat just that:")
        repeat = f"{_PROGRAM} --case '{wrong.case}'"
        repeat += "".join(f" --without {cure}" for cure in options.without)
        _say(options, f"    {repeat}")
        return _end(
            False, violation=wrong.violation, case=str(wrong.case), repeat=repeat, cases=total
        )
    counts = {part: sum(len(c) for (p, _), c in cases.items() if p == part) for part, _ in work}
    # A sample is checked for its size alone: what it misses, it misses by chance.
    tried = missed if options.sample else {}
    low = too_few({key: len(cases[key] | tried.get(key, set())) for key in work}, options.sample)
    for complaint in low:
        _say(options, f"fewer than there were: {complaint}")
    for case in sorted(case for some in missed.values() for case in some):
        _say(options, f"never reached: {case}")
    return _end(
        not low,
        **counts,
        **({"violation": "; ".join(low)} if low else {}),
        cases=total,
        by_participants={f"{part}-{n}": len(found) for (part, n), found in sorted(cases.items())},
        outcomes=dict(sorted(outcomes.items())),
        missed=sum(map(len, missed.values())),
        seconds=round(time.monotonic() - started, 1),
    )


def _one(options: argparse.Namespace) -> int:
    case = Case.parse(options.case)
    with Cluster(3) as cluster:
        worker = Worker({case.n: prepare(cluster, case.n, "")})
        (run,) = worker.run(case)
        worker.close()
    if not options.json:
        _show(run)
    return _end(
        not run.violation and run.happened,
        violation=run.violation or ("" if run.happened else "its point was never reached"),
        case=str(case),
        cases=1,
    )


def _self_check(options: argparse.Namespace) -> int:
    with Cluster(3) as cluster:
        found = check(prepare(cluster, 2, ""))
    healthy = found.pop("")
    for cure, noticed in found.items():
        _say(options, f"without {cure}: {noticed or 'NOTHING IS NOTICED'}")
    if healthy:
        _say(options, f"with all cures: {healthy}")
    ok = not healthy and all(found.values())
    return _end(ok, cures=len(found), noticed=sum(map(bool, found.values())), healthy=healthy)


def _show(run: Run) -> None:
    for who, told in (("coordinator", run.told), ("recoverer", run.recoverer)):
        if told is not None:
            print(f"{who}: {', '.join(told.passed)}\n    told {told.values}")
    print(f"databases: {run.facts}\n{run.violation or 'all is well'}")


def _say(options: argparse.Namespace, line: str) -> None:
    if not options.json:
        print(line, flush=True)


def _end(ok: bool, **facts: object) -> int:
    print(json.dumps({"ok": ok, **facts}), flush=True)
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    parser.add_argument("--only", action="append", choices=get_args(Part), help="only this part")
    parser.add_argument(
        "--participants",
        type=lambda text: [int(n) for n in text.split(",")],
        default=[2, 3],
        metavar="2,3",
        help="with how many participants",
    )
    parser.add_argument(
        "--sample", type=int, default=0, help="so many cases of each part, evenly spread"
    )
    parser.add_argument(
        "--list", action="store_true", help="list the cases instead of running them"
    )
    parser.add_argument("--jobs", type=int, default=2, help="workers at a time")
    parser.add_argument("--case", help="run just this one, and show it")
    parser.add_argument(
        "--self-check", action="store_true", help="take each cure out, and see it missed"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=sorted(CURES),
        help="take this cure out first, to see that it is missed",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
