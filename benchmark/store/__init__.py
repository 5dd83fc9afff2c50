"""Made once, and kept under the hash of what determines it."""
