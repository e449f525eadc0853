"""Real PostgreSQL servers for tests and demos, and steps of commit at which to break them.

Importing this package imports no driver and no container library.
"""

from paxcommit.testing.backends import Backend
from paxcommit.testing.cluster import Cluster
from paxcommit.testing.layout import Layout, Place
from paxcommit.testing.server import Server

__all__ = ["Backend", "Cluster", "Layout", "Place", "Server"]
