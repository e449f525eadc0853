"""Arms steps, then becomes the program that the rest of the command line names.

``python -m paxcommit.testing.plugin.armed_main SPEC -m MODULE …`` or ``… SPEC SCRIPT …``, where
SPEC is JSON: ``fd``, the pipe to tell the parent through, and ``arms``, a list of ``[number,
action, pattern, nth]``.  Started by `Failpoints.start_python`.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from paxcommit import failpoints
from paxcommit.testing.plugin.arms import Arm, Arms
from paxcommit.testing.plugin.children import Reporter

__all__: list[str] = []


def main() -> None:
    """See the module."""
    spec = json.loads(sys.argv[1])
    del sys.argv[:2]
    hear = Reporter(spec["fd"]).tell
    arms = Arms(hear)
    for number, action, pattern, nth in spec["arms"]:
        arms.add(Arm(number, action, pattern, nth))
    arms.inherit(hear)
    failpoints.arm(arms.hook)
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).parent.resolve())
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
