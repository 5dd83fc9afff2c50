"""From scores to numbers that can be trusted."""
