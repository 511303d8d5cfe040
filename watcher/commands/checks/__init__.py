"""What `check` looks at, part by part. Each part gives findings; none raises for what an operator can fix."""
