"""The asyncio runner."""
