"""What the commands do. The command line itself (names, options, help, exit status) is `watcher.cli`."""
