"""What was handed in, read and made a case."""
