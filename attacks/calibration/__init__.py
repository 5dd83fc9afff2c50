"""What a score means: set beside scores under other models."""
