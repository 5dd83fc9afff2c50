"""Audit a generator of your own."""
