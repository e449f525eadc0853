"""psycopg adapter."""
