"""Victims and reference models: each trained once."""
