"""The page at the admin port: for people who would rather look than read."""
