"""How files are found, judged complete, opened, moved and deleted."""
