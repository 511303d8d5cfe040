"""One signed client for S3-compatible stores: signing, addresses, errors by kind."""
