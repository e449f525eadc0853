"""asyncpg adapter."""
