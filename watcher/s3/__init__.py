"""S3-compatible stores: one signed client for staged originals, for looking at stored objects and for the engine's connector."""
