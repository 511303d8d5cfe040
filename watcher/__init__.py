"""compressor-watcher: drop an image into a folder, read its Backblaze B2 URL in the log."""

__version__ = "0.1.0"
