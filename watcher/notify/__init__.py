"""Receivers of endings: who is told, in the order of the audit file, and what becomes of those who do not listen."""
