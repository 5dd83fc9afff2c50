"""Many jobs: what they are, what is ahead, what became of them."""
