"""The journey of one image: turns, decisions, transitions, disposal of the original. Read `pipeline` first."""
