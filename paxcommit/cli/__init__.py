"""The command line: Typer commands over the library, nothing that only they can do."""
