"""Schema, migrations, the acceptor's functions, and statements as generators; no driver here."""
