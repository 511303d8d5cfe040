"""The Compressor API, served on this machine."""
