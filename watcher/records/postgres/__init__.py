"""The journal on PostgreSQL, for several hosts. Needs the extra `postgres`; imported where it is configured only."""
