"""The configuration: its schema, reading it whole, judging it whole, and what a reload may take over."""
