"""What is remembered: the journal and the audit file."""
