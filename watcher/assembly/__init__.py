"""Builds the parts of the daemon, each with what they are given. Only this room and `app.py` know both sides of a port."""
