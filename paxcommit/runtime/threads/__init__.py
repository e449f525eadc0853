"""The runner for blocking code: threads, no hidden event loop."""
