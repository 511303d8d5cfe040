"""The Compressor API: its words, the client, failures, and what the store says."""
