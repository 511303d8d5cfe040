"""How an original can be fetched for a while: temporary URLs, or links to a private bucket."""
