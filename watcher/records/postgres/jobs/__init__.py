"""The jobs of engines behind one address, in PostgreSQL: any of them takes them, tells of them, and goes on with them."""
