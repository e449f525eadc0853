"""The demo: transfers between banks while coordinators are killed, and what the databases say then.

Afterwards the same workload under plain two-phase commit, with one kill, for comparison.
"""

from paxcommit.testing.demo.result import Result
from paxcommit.testing.demo.screen import Screen
from paxcommit.testing.demo.stage import play
from paxcommit.testing.demo.table import tabulate

__all__ = ["Result", "Screen", "play", "tabulate"]
