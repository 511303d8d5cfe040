"""The daemon's life as a service: systemd and the admin page."""
