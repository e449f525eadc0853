"""``python -m tests.proof.mutants``: take out one rule after the other, and see each missed."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence

from tests.proof.mutants.catalogue.sample import sample
from tests.proof.mutants.catalogue.whole import MUTANTS
from tests.proof.mutants.histories import Histories, judge_histories
from tests.proof.mutants.hunt import Fate, hunt
from tests.proof.mutants.table import page, show, summary, write_page

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt, print a table, and end with one line of JSON."""
    options = _parser().parse_args(arguments)
    unknown = [name for name in options.only or () if name not in MUTANTS]
    if unknown:
        print(f"mutants: no mutant is called {', '.join(unknown)}", file=sys.stderr)
        return 2
    chosen = [MUTANTS[name] for name in options.only] if options.only else list(MUTANTS.values())
    if options.sample:
        chosen = sample(chosen, options.sample)

    def tell(fate: Fate) -> None:
        if not options.json:
            show(fate)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running
    report = hunt(chosen, jobs=options.jobs, tool=options.tool, tell=tell)
    everything = not options.only and options.tool is None
    histories = judge_histories() if everything else Histories(0, "")
    if not options.json:
        print(page(report), end="")
    for name, said in report.unsound.items():
        print(f"mutants: the original does not pass {name}: {said}", file=sys.stderr)
    if histories.problem:
        print(f"mutants: bad histories: {histories.problem}", file=sys.stderr)
    if options.write_docs:
        write_page(report)
    ok = report.ok and not histories.problem and bool(report.fates)
    print(json.dumps(summary(report, ok, histories.rejected)))
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants alone")
    parser.add_argument("--tool", choices=["model", "simulate", "crashpoints", "test"])
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--sample", type=int, default=0, metavar="K", help="K cheap ones, fixed")
    parser.add_argument("--json", action="store_true", help="only the line of JSON")
    parser.add_argument("--write-docs", action="store_true", help="write docs/mutants.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
