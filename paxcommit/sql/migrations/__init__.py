"""The schema's migrations, as package data: ``NNNN_*.sql``, in the order of their names."""
