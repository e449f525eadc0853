"""``python -m tests.proof.simulation``: whole clusters, simulated; the last line is JSON."""

from __future__ import annotations

import argparse
import json
import sys

from tests.proof.simulation.marks import MARKS
from tests.proof.simulation.runs import Tally, run, shortfalls, trace


def main() -> int:
    options = _options()
    if options.seed is not None:
        return _replay(options.seed, show=options.trace)
    tally = run(options.first, options.seeds, options.jobs)
    short = [] if options.no_coverage or tally.seed is not None else shortfalls(tally)
    if not options.json:
        _report(tally, short)
    _last_line(tally, short)
    return 0 if tally.seed is None and not short else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.proof.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell what happens")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument(
        "--no-coverage", action="store_true", help="do not demand a mix of outcomes and all marks"
    )
    return parser.parse_args()


def _replay(seed: int, *, show: bool) -> int:
    lines, violation = trace(seed)
    if show:
        print("\n".join(lines))
    summary = {"ok": not violation, "seed": seed, "seeds": 1, "violation": violation}
    print(json.dumps(summary))
    return 1 if violation else 0


def _report(tally: Tally, short: list[str]) -> None:
    if tally.seed is not None:
        lines, _ = trace(tally.seed)
        print("\n".join(lines))
        print(f"\nseed {tally.seed}: {tally.violation}")
        print(f"replay: python -m tests.proof.simulation --seed {tally.seed} --trace")
        return
    print(
        f"{tally.seeds} seeds in {tally.seconds:.1f} s: {_rate(tally)} seeds a second,"
        f" {tally.seeds / tally.cpu:.0f} per second of processor time"
    )
    told = sum(tally.outcomes.values())
    for outcome, count in tally.outcomes.most_common():
        print(f"{count:8} {outcome} ({count / told:.1%})")
    for mark in MARKS:
        print(f"{tally.marks[mark]:8} {mark}")
    for line in short:
        print(f"too little: {line}")


def _last_line(tally: Tally, short: list[str]) -> None:
    summary: dict[str, object] = {"ok": tally.seed is None and not short, "seeds": tally.seeds}
    if tally.seed is not None:
        summary |= {
            "seed": tally.seed,
            "violation": tally.violation,
            "replay": f"python -m tests.proof.simulation --seed {tally.seed} --trace",
        }
    else:
        summary |= {
            "seeds_per_second": _rate(tally),
            "outcomes": dict(tally.outcomes),
            "marks": {mark: tally.marks[mark] for mark in MARKS},
        }
        if short:
            summary["too_little"] = short
    print(json.dumps(summary))


def _rate(tally: Tally) -> float:
    return round(tally.seeds / tally.seconds, 1)


if __name__ == "__main__":
    sys.exit(main())
